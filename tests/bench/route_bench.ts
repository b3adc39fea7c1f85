/**
 * How long does a route lookup take, for few prefixes and for many? `deno task bench:routes` says
 * the same as one table, and what a build takes.
 * @module
 */
import { lookup4, lookup6 } from "../../core/route/lpm.ts";
import {
  createAddresses,
  createRoutes,
  createTable,
  TABLE_SIZES,
} from "../../scripts/bench_routes.ts";

for (const size of TABLE_SIZES) {
  const routes = createRoutes("IPv4", size);
  const table = createTable(routes);
  const addresses = createAddresses(routes);
  let at = 0;
  Deno.bench(`look an IPv4 address up among ${size} prefixes`, { group: "lookup4" }, () => {
    lookup4(table, addresses[at]!);
    at = (at + 4) % addresses.length;
  });
}

for (const size of TABLE_SIZES) {
  const routes = createRoutes("IPv6", size);
  const table = createTable(routes);
  const addresses = createAddresses(routes);
  let at = 0;
  Deno.bench(`look an IPv6 address up among ${size} prefixes`, { group: "lookup6" }, () => {
    lookup6(
      table,
      addresses[at]!,
      addresses[at + 1]!,
      addresses[at + 2]!,
      addresses[at + 3]!,
    );
    at = (at + 4) % addresses.length;
  });
}
