/**
 * What does routing cost with 10 prefixes, and with 100 000? Time of a look-up and of a build.
 *
 * Half of the prefixes are hosts of one mesh, the others networks of any length, as peers announce
 * them. Look-ups are of addresses within prefixes drawn at random, and of the same one again and
 * again.
 *
 * Usage: deno task bench:routes [--json]
 * @module
 */
import { parseArgs } from "node:util";
import { maskBytes, parsePrefix, type Prefix } from "../core/ip.ts";
import { type Random, SeededRandom } from "../core/random.ts";
import {
  buildRouteTable,
  lookup4,
  lookup6,
  type Route,
  routeTableWords,
} from "../core/route/lpm.ts";

/** How many prefixes the tables have. */
export const TABLE_SIZES = [10, 100, 1_000, 10_000, 100_000] as const;

/** A power of two, and more than a branch predictor learns by heart. */
const ADDRESSES = 1 << 16;
const LOOKUPS = 8 * ADDRESSES;
/** Other programs only make a run slower, so the fastest counts. */
const RUNS = 7;

/** Hosts of the mesh, and where networks lie and how long their prefixes are. */
const FAMILIES = {
  IPv4: { mesh: "10.0.0.0/8", networks: "0.0.0.0/0", shortest: 12, longest: 28 },
  IPv6: { mesh: "fd5a:17c9:4e02::/48", networks: "2000::/3", shortest: 32, longest: 64 },
} as const;

/** A family of addresses. */
export type Family = keyof typeof FAMILIES;

interface RouteCost {
  readonly family: Family;
  readonly prefixes: number;
  readonly randomNs: number;
  readonly sameNs: number;
  readonly firstBuildMs: number;
  readonly buildMs: number;
  readonly kilobytes: number;
}

/** The table of routes, in memory that threads share as in a node. */
export function createTable(routes: readonly Route[]): Uint32Array {
  const words = new Uint32Array(new SharedArrayBuffer(4 * routeTableWords(routes.length)));
  buildRouteTable(words, routes);
  return words;
}

/** Routes of `count` prefixes, the same in each run. */
export function createRoutes(family: Family, count: number): Route[] {
  const random = new SeededRandom(count);
  const { mesh, networks, shortest, longest } = FAMILIES[family];
  return Array.from({ length: count }, (_, value) => {
    const bytes = addressWithin(parsePrefix(value % 2 === 0 ? mesh : networks)!, random);
    const bits = value % 2 === 0
      ? 8 * bytes.length
      : shortest + random.uint32() % (longest - shortest + 1);
    return { prefix: { bytes: maskBytes(bytes, bits), bits }, value };
  });
}

/** Addresses within routes drawn at random, four words each; IPv4 uses the first. */
export function createAddresses(routes: readonly Route[]): Int32Array {
  const random = new SeededRandom(1);
  const words = new Int32Array(4 * ADDRESSES);
  for (let i = 0; i < ADDRESSES; i++) {
    const { prefix } = routes[random.uint32() % routes.length]!;
    const view = new DataView(addressWithin(prefix, random).buffer);
    for (let k = 0; k < view.byteLength / 4; k++) words[4 * i + k] = view.getInt32(4 * k);
  }
  return words;
}

function addressWithin({ bytes, bits }: Prefix, random: Random): Uint8Array<ArrayBuffer> {
  const host = maskBytes(new Uint8Array(bytes.length).fill(255), bits).map((byte) => ~byte);
  return Uint8Array.from(bytes, (byte, i) => byte | (host[i]! & random.uint32()));
}

/** Looks `count` addresses up; the sum keeps the compiler from leaving look-ups out. */
type LookupLoop = (table: Uint32Array, addresses: Int32Array, count: number) => number;

function lookUp4(table: Uint32Array, addresses: Int32Array, count: number): number {
  const mask = addresses.length - 1;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += lookup4(table, addresses[(4 * i) & mask]!);
  return sum;
}

function lookUp6(table: Uint32Array, addresses: Int32Array, count: number): number {
  const mask = addresses.length - 1;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const at = (4 * i) & mask;
    sum += lookup6(
      table,
      addresses[at]!,
      addresses[at + 1]!,
      addresses[at + 2]!,
      addresses[at + 3]!,
    );
  }
  return sum;
}

function measure(family: Family, prefixes: number): RouteCost {
  const loop = family === "IPv4" ? lookUp4 : lookUp6;
  const routes = createRoutes(family, prefixes);
  const start = performance.now();
  const table = createTable(routes);
  const firstBuildMs = performance.now() - start;
  const addresses = createAddresses(routes);
  return {
    family,
    prefixes,
    randomNs: round(1, nanosecondsPerLookup(loop, table, addresses)),
    sameNs: round(1, nanosecondsPerLookup(loop, table, addresses.slice(0, 4))),
    firstBuildMs: round(2, firstBuildMs),
    buildMs: round(2, fastest(() => buildRouteTable(table, routes))),
    // Fresh memory is zero, and the table ends with a node, whose key and value are not.
    kilobytes: Math.ceil(4 * (table.findLastIndex((word) => word !== 0) + 1) / 1_000),
  };
}

function nanosecondsPerLookup(
  loop: LookupLoop,
  table: Uint32Array,
  addresses: Int32Array,
): number {
  return fastest(() => loop(table, addresses, LOOKUPS)) * 1e6 / LOOKUPS;
}

/** Milliseconds of the fastest of several runs. */
function fastest(run: () => void): number {
  let best = Infinity;
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

function round(digits: number, value: number): number {
  return Number(value.toFixed(digits));
}

function main(): void {
  const { values } = parseArgs({ args: Deno.args, options: { json: { type: "boolean" } } });
  const families = Object.keys(FAMILIES) as Family[];
  const results = families.flatMap((family) => TABLE_SIZES.map((size) => measure(family, size)));
  if (values.json) console.log(JSON.stringify({ results }));
  else console.table(results);
}

if (import.meta.main) main();
