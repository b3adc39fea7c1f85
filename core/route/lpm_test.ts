/**
 * Does the route table find the longest prefix, whatever it holds?
 * @module
 */
import assert from "node:assert/strict";
import { parseIp, parsePrefix, prefixContains } from "../ip.ts";
import { SeededRandom } from "../random.ts";
import { buildRouteTable, lookup4, lookup6, NO_MATCH, type Route, routeTableWords } from "./lpm.ts";

function table(entries: [string, number][]): Uint32Array {
  const routes = entries.map(([text, value]) => ({ prefix: parsePrefix(text)!, value }));
  const words = new Uint32Array(routeTableWords(routes.length));
  buildRouteTable(words, routes);
  return words;
}

function find(words: Uint32Array, address: string | Uint8Array): number {
  const bytes = typeof address === "string" ? parseIp(address)! : address;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (bytes.length === 4) return lookup4(words, view.getUint32(0));
  return lookup6(
    words,
    view.getUint32(0),
    view.getUint32(4),
    view.getUint32(8),
    view.getUint32(12),
  );
}

Deno.test("lookup() prefers the longest prefix", () => {
  const words = table([["0.0.0.0/0", 9], ["10.0.0.0/8", 1], ["10.1.0.0/16", 2], [
    "10.1.2.3/32",
    3,
  ]]);
  assert.equal(find(words, "10.1.2.3"), 3);
  assert.equal(find(words, "10.1.2.4"), 2);
  assert.equal(find(words, "10.2.0.0"), 1);
  assert.equal(find(words, "192.0.2.1"), 9);
});

Deno.test("lookup() finds nothing outside every prefix, and keeps the families apart", () => {
  const words = table([["10.0.0.0/8", 1], ["fd00::/48", 2]]);
  assert.equal(find(words, "11.0.0.1"), NO_MATCH);
  assert.equal(find(words, "fd00::1"), 2);
  assert.equal(find(words, "fd00:0:1::1"), NO_MATCH);
  assert.equal(find(table([]), "10.0.0.1"), NO_MATCH);
});

Deno.test("buildRouteTable() lets the last duplicate win and refuses too little memory", () => {
  assert.equal(find(table([["10.0.0.0/8", 1], ["10.0.0.0/8", 7]]), "10.0.0.1"), 7);
  assert.throws(
    () => buildRouteTable(new Uint32Array(8), [{ prefix: parsePrefix("10.0.0.0/8")!, value: 1 }]),
    RangeError,
  );
});

Deno.test("lookup() agrees with a linear search on random tables", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new SeededRandom(seed);
    const routes: Route[] = Array.from({ length: 60 }, (_, value) => {
      const size = random.uint32() % 2 === 0 ? 4 : 16;
      const bits = random.uint32() % (size * 8 + 1);
      const bytes = randomAddress(random, size).map((byte, i) =>
        byte & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))) & 0xff
      );
      return { prefix: { bytes, bits }, value };
    });
    const words = new Uint32Array(routeTableWords(routes.length));
    buildRouteTable(words, routes);
    for (let i = 0; i < 300; i++) {
      const address = randomAddress(random, i % 2 === 0 ? 4 : 16);
      assert.equal(find(words, address), linear(routes, address), `seed ${seed}`);
    }
  }
});

/** Few distinct bytes, so that prefixes nest. */
function randomAddress(random: SeededRandom, size: number): Uint8Array {
  return random.bytes(size).map((byte) => byte & 0x81);
}

function linear(routes: readonly Route[], address: Uint8Array): number {
  let best: Route | undefined;
  for (const route of routes) {
    if (!prefixContains(route.prefix, address)) continue;
    if (!best || route.prefix.bits >= best.prefix.bits) best = route;
  }
  return best?.value ?? NO_MATCH;
}
