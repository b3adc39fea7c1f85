import assert from "node:assert/strict";
import fc from "fast-check";
import {
  equals,
  filterMatches,
  formatTraffic,
  hasPoint,
  ICMP,
  intersect,
  OTHER,
  parseTraffic,
  PING,
  pointOf,
  subtract,
  type Traffic,
  trafficOf,
  union,
} from "./traffic.ts";

const REFUSED = [
  "",
  "0",
  "65536",
  "22-21",
  "tcp/",
  "tcp/0",
  "icmp/8",
  "22,23",
  "-1",
  "0x16",
  "2 2",
];

for (const text of REFUSED) {
  Deno.test(`parseTraffic() refuses "${text}"`, () => assert.equal(parseTraffic(text), null));
}

const READ: [text: string, points: number[], others: number[]][] = [
  ["22", [22, pointOf("udp", 22)], [21, 23, ICMP, OTHER]],
  ["8000-8010", [8000, 8010, pointOf("udp", 8005)], [7999, 8011]],
  ["tcp/443", [443], [pointOf("udp", 443), 444]],
  ["udp", [pointOf("udp", 0), pointOf("udp", 65535)], [0, 65535, ICMP]],
  ["icmp", [PING, ICMP], [OTHER, 1]],
  ["ping", [PING], [ICMP, OTHER, 1]],
  ["any", [0, PING, ICMP, OTHER], []],
];

for (const [text, points, others] of READ) {
  Deno.test(`parseTraffic() reads "${text}"`, () => {
    const traffic = parseTraffic(text)!;
    assert.deepEqual(points.filter((point) => !hasPoint(traffic, point)), []);
    assert.deepEqual(others.filter((point) => hasPoint(traffic, point)), []);
    assert.equal(formatTraffic(traffic), text);
  });
}

const anyInterval = fc.tuple(fc.nat(40), fc.nat(10)).map(([first, length]) => {
  // Around the seams between TCP, UDP and the rest, where mistakes would be.
  const start = first < 20 ? 65_526 + first : ICMP - 40 + first;
  return { first: start, last: Math.min(OTHER, start + length) };
});
const anyTraffic = fc.array(anyInterval, { maxLength: 4 }).map((parts) => union(parts));

Deno.test("union(), subtract() and intersect() are what they are for each point", () => {
  fc.assert(fc.property(anyTraffic, anyTraffic, fc.nat(OTHER), (a, b, random) => {
    const ends = [...a, ...b].flatMap(({ first, last }) => [first - 1, first, last, last + 1]);
    for (const point of [...ends, random]) {
      const [inA, inB] = [hasPoint(a, point), hasPoint(b, point)];
      assert.equal(hasPoint(union(a, b), point), inA || inB);
      assert.equal(hasPoint(subtract(a, b), point), inA && !inB);
      assert.equal(hasPoint(intersect(a, b), point), inA && inB);
    }
  }));
});

/** Sets that a document can write: its own words, joined. */
const anyWritten = fc.array(
  fc.oneof(
    fc.constantFrom("tcp", "udp", "icmp", "ping", "any"),
    fc.tuple(fc.constantFrom("", "tcp/", "udp/"), fc.integer({ min: 1, max: 65_535 }), fc.nat(9))
      .map(([protocol, first, more]) => `${protocol}${first}-${Math.min(65_535, first + more)}`),
  ),
  { minLength: 1, maxLength: 5 },
).map((words) => union(...words.map((word) => parseTraffic(word)!)));

Deno.test("filterMatches() means the same traffic, in the filter's terms", () => {
  fc.assert(fc.property(anyWritten, (traffic) => {
    const parts: Traffic[] = filterMatches(traffic).map(trafficOf);
    assert.ok(equals(union(...parts), traffic));
  }));
});

Deno.test("formatTraffic() writes what reads as the same", () => {
  fc.assert(fc.property(anyWritten, (traffic) => {
    const words = formatTraffic(traffic).split(", ");
    assert.ok(equals(union(...words.map((word) => parseTraffic(word)!)), traffic));
  }));
});
