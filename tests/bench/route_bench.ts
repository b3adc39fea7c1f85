/**
 * How long does a route lookup take, for few prefixes and for many?
 * @module
 */
import { SeededRandom } from "../../core/random.ts";
import { buildRouteTable, lookup4, routeTableWords } from "../../core/route/lpm.ts";

for (const size of [10, 1_000, 16_000]) {
  const random = new SeededRandom(size);
  const routes = Array.from({ length: size }, (_, value) => ({
    prefix: { bytes: random.bytes(4), bits: 32 },
    value,
  }));
  const words = new Uint32Array(routeTableWords(size));
  buildRouteTable(words, routes);
  const addresses = Uint32Array.from(
    routes,
    ({ prefix }) => new DataView(prefix.bytes.buffer).getUint32(0),
  );
  let i = 0;
  Deno.bench(`look an IPv4 address up among ${size} prefixes`, { group: "lookup4" }, () => {
    lookup4(words, addresses[i++ % size]!);
  });
}
