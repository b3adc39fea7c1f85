/**
 * Does the route table find the longest prefix, whatever it holds?
 * @module
 */
import assert from "node:assert/strict";
import { maskBytes, parseIp, parsePrefix } from "../ip.ts";
import { SeededRandom } from "../random.ts";
import { buildRouteTable, lookup4, lookup6, NO_MATCH, type Route, routeTableWords } from "./lpm.ts";

type Entry = readonly [prefix: string, value: number];

function routesOf(entries: readonly Entry[]): Route[] {
  return entries.map(([text, value]) => ({ prefix: parsePrefix(text)!, value }));
}

function build(routes: readonly Route[]): Uint32Array {
  // What a table before this one left behind may not matter.
  const words = new Uint32Array(routeTableWords(routes.length)).fill(0xffffffff);
  buildRouteTable(words, routes);
  return words;
}

function table(entries: readonly Entry[]): Uint32Array {
  return build(routesOf(entries));
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

/** The naive way: one set of keys for each length, asked from the longest to the shortest. */
class Reference {
  readonly #byLength = new Map<string, Map<string, number>>();

  constructor(routes: readonly Route[]) {
    for (const { prefix: { bytes, bits }, value } of routes) {
      const length = `${bytes.length}/${bits}`;
      const keys = this.#byLength.get(length) ?? new Map<string, number>();
      this.#byLength.set(length, keys.set(maskBytes(bytes, bits).join(), value));
    }
  }

  find(address: Uint8Array): number {
    for (let bits = 8 * address.length; bits >= 0; bits--) {
      const keys = this.#byLength.get(`${address.length}/${bits}`);
      const value = keys?.get(maskBytes(address, bits).join());
      if (value !== undefined) return value;
    }
    return NO_MATCH;
  }
}

/** Compares look-ups at and around the prefixes with the naive way. */
function assertAgrees(routes: readonly Route[], random: SeededRandom, name: string): void {
  const words = build(routes);
  const reference = new Reference(routes);
  for (const address of addresses(routes, random)) {
    assert.equal(find(words, address), reference.find(address), `${name}: ${address.join()}`);
  }
}

/** Edges of prefixes, addresses within, addresses one bit beside, and some anywhere. */
function* addresses(routes: readonly Route[], random: SeededRandom): Generator<Uint8Array> {
  for (let i = 0; i < 100; i++) yield random.bytes(i % 2 === 0 ? 4 : 16);
  const samples = Math.min(routes.length, 200);
  for (let i = 0; i < samples; i++) {
    const { bytes, bits } = routes[Math.trunc(i * routes.length / samples)]!.prefix;
    const key = maskBytes(bytes, bits);
    const host = maskBytes(new Uint8Array(bytes.length).fill(255), bits).map((byte) => ~byte);
    yield key;
    yield key.map((byte, k) => byte | host[k]!);
    yield key.map((byte, k) => byte | (host[k]! & random.uint32()));
    const flipped = random.uint32() % (8 * bytes.length);
    yield key.map((byte, k) => k === flipped >> 3 ? byte ^ (0x80 >> (flipped & 7)) : byte);
  }
}

function randomRoutes(
  random: SeededRandom,
  count: number,
  options: { size: 4 | 16; mask: number; bits: () => number },
): Route[] {
  return Array.from({ length: count }, (_, value) => {
    const bits = options.bits();
    const bytes = random.bytes(options.size).map((byte) => byte & options.mask);
    return { prefix: { bytes: maskBytes(bytes, bits), bits }, value };
  });
}

/** Every length of prefix around one address: the deepest nesting there is. */
function chain(address: string): Route[] {
  const bytes = parseIp(address)!;
  return Array.from({ length: 8 * bytes.length + 1 }, (_, bits) => ({
    prefix: { bytes: maskBytes(bytes, bits), bits },
    value: bits,
  }));
}

/** At each bit of an address the prefix that leaves it there, as a table without default has. */
function comb(address: string): Route[] {
  return chain(address).slice(1).map(({ prefix: { bytes, bits }, value }) => {
    const last = (bits - 1) >> 3;
    const beside = bytes.map((byte, k) => k === last ? byte ^ (0x80 >> ((bits - 1) & 7)) : byte);
    return { prefix: { bytes: beside, bits }, value };
  });
}

function hosts(network: string, count: number): Route[] {
  const { bytes } = parsePrefix(network)!;
  return Array.from({ length: count }, (_, value) => {
    const host = bytes.slice();
    const view = new DataView(host.buffer);
    view.setUint32(host.length - 4, view.getUint32(host.length - 4) + value);
    return { prefix: { bytes: host, bits: 8 * host.length }, value };
  });
}

Deno.test("lookup() prefers the longest prefix", () => {
  const words = table([
    ["0.0.0.0/0", 9],
    ["10.0.0.0/8", 1],
    ["10.1.0.0/16", 2],
    ["10.1.2.3/32", 3],
  ]);
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
  assert.equal(find(table([]), "fd00::1"), NO_MATCH);
  assert.equal(find(table([["0.0.0.0/0", 1]]), "fd00::1"), NO_MATCH);
  assert.equal(find(table([["::/0", 1]]), "10.0.0.1"), NO_MATCH);
});

Deno.test("lookup() takes words of an address with or without a sign", () => {
  const words = table([["192.0.2.0/24", 1], ["fd00::/48", 2], ["fd00::ffff:ffff/128", 3]]);
  assert.equal(lookup4(words, 0xc0000201), 1);
  assert.equal(lookup4(words, 0xc0000201 | 0), 1);
  assert.equal(lookup6(words, 0xfd000000, 0, 0, 0xffffffff), 3);
  assert.equal(lookup6(words, 0xfd000000 | 0, 0, 0, -1), 3);
});

Deno.test("lookup() answers with the first and the last value that a route may have", () => {
  const words = table([["10.0.0.1/32", 0], ["10.0.0.2/32", 2 ** 31 - 1]]);
  assert.equal(find(words, "10.0.0.1"), 0);
  assert.equal(find(words, "10.0.0.2"), 2 ** 31 - 1);
});

Deno.test("buildRouteTable() lets the last duplicate win, wherever it stands", () => {
  const words = table([
    ["10.0.0.0/8", 1],
    ["fd00::/8", 2],
    ["10.0.0.0/8", 3],
    ["10.0.0.0/16", 4],
    ["fd00::/8", 5],
    ["10.0.0.0/8", 6],
  ]);
  assert.equal(find(words, "10.255.0.1"), 6);
  assert.equal(find(words, "10.0.0.1"), 4);
  assert.equal(find(words, "fd00::1"), 5);
});

Deno.test("buildRouteTable() ignores what stands in a prefix behind its length", () => {
  const words = build([
    { prefix: { bytes: parseIp("10.1.2.3")!, bits: 12 }, value: 1 },
    { prefix: { bytes: parseIp("10.1.0.0")!, bits: 16 }, value: 2 },
    { prefix: { bytes: parseIp("10.15.0.0")!, bits: 12 }, value: 3 },
  ]);
  assert.equal(find(words, "10.15.255.255"), 3);
  assert.equal(find(words, "10.1.255.255"), 2);
  assert.equal(find(words, "10.16.0.0"), NO_MATCH);
});

Deno.test("buildRouteTable() refuses too little memory", () => {
  const routes = routesOf([["10.0.0.0/8", 1]]);
  assert.throws(() => buildRouteTable(new Uint32Array(8), routes), RangeError);
});

Deno.test("lookup() agrees with the naive way on adversarial tables", async (t) => {
  const [v4, v6] = ["10.170.85.1", "2001:db8:aaaa:5555:cccc:3333:f0f0:1"];
  const both = (shape: (address: string) => Route[]) => [...shape(v4), ...shape(v6)];
  const cases: Record<string, Route[]> = {
    "every length around one address": both(chain),
    "every length, longest first": both(chain).reverse(),
    "every length around zero": [...chain("0.0.0.0"), ...chain("::")],
    "every length around ones": [...chain("255.255.255.255"), ...chain(`${"ffff:".repeat(7)}ffff`)],
    "what leaves one address at each bit": both(comb),
    "both": [...both(chain), ...both(comb)],
    "dense hosts": [...hosts("10.0.0.0/16", 3_000), ...hosts("fd00::/64", 3_000)],
    "dense hosts over a byte's edge": hosts("10.0.255.128/25", 300),
    "dense hosts below default routes": [
      ...routesOf([["0.0.0.0/0", 1], ["::/0", 2], ["10.0.0.0/30", 3], ["fd00::/126", 4]]),
      ...hosts("10.0.0.0/16", 300),
      ...hosts("fd00::/64", 300),
    ],
    "nested within the bits of one node": routesOf([
      ...Array.from({ length: 64 }, (_, i): Entry => [`10.${4 * i}.0.0/14`, i]),
      ["10.0.0.0/9", 100],
      ["10.64.0.0/10", 101],
      ["10.64.0.0/16", 102],
      ["10.64.128.0/17", 103],
    ]),
    "halves of the Internet, the usual way to replace a default route": routesOf([
      ["0.0.0.0/1", 1],
      ["128.0.0.0/1", 2],
      ["::/1", 3],
      ["8000::/1", 4],
    ]),
    "the same prefix often": Array.from({ length: 500 }, (_, i) => chain(v4)[i % 33]!),
  };
  for (const [name, routes] of Object.entries(cases)) {
    await t.step(name, () => assertAgrees(routes, new SeededRandom(1), name));
  }
});

Deno.test("lookup() agrees with the naive way on random tables", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new SeededRandom(seed);
    // Few distinct bits make prefixes nest and repeat.
    const mask = [0x01, 0x81, 0xc3, 0xff][seed % 4]!;
    const least = [0, 0, 16, 24][random.uint32() % 4]!;
    const routes = ([4, 16] as const).flatMap((size) =>
      randomRoutes(random, random.uint32() % 200, {
        size,
        mask,
        bits: () => least + random.uint32() % (8 * size - least + 1),
      })
    );
    assertAgrees(routes, random, `seed ${seed}`);
  }
});

Deno.test("lookup() agrees with the naive way among 100 000 prefixes", () => {
  const random = new SeededRandom(7);
  const routes = ([4, 16] as const).flatMap((size) => [
    ...randomRoutes(random, 25_000, { size, mask: 0xff, bits: () => 8 * size }),
    ...randomRoutes(random, 25_000, {
      size,
      mask: 0xff,
      bits: () => random.uint32() % (8 * size + 1),
    }),
  ]);
  assertAgrees(routes, random, "100 000 prefixes");
});

Deno.test("buildRouteTable() writes no word behind what routeTableWords() says", () => {
  const cases = [
    chain("10.170.85.1"),
    comb("2001:db8:aaaa:5555:cccc:3333:f0f0:1"),
    hosts("fd00::/64", 1),
    // One place of each node is taken, the others are empty.
    Array.from({ length: 8 }, (_, i) => chain(`2001:db8::${i}`)).flat(),
    ...[1, 2, 3].map((seed) =>
      randomRoutes(new SeededRandom(seed), 1_000, { size: 16, mask: 0xff, bits: () => 128 })
    ),
  ];
  for (const routes of cases) {
    const limit = routeTableWords(routes.length);
    const words = new Uint32Array(2 * limit).fill(0xabcdef01);
    buildRouteTable(words, routes);
    assert.ok(words.subarray(limit).every((word) => word === 0xabcdef01));
  }
});

Deno.test("lookup() reads few words, whatever the prefixes are", () => {
  const [v4, v6] = ["10.170.85.1", "2001:db8:aaaa:5555:cccc:3333:f0f0:1"];
  const routes = [v4, v6].flatMap((address) => [...chain(address), ...comb(address)]);
  let reads = 0;
  const counted = new Proxy(build(routes), {
    get(target, property) {
      reads++;
      return Reflect.get(target, property);
    },
  });
  assert.equal(find(counted, v4), 32);
  assert.ok(reads <= 33 * 4, `${reads} words for IPv4`);
  reads = 0;
  assert.equal(find(counted, v6), 128);
  assert.ok(reads <= 129 * 7, `${reads} words for IPv6`);
});
