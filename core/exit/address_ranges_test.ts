import { strict as assert } from "node:assert";
import fc from "fast-check";
import { maskBytes, parseIp, parsePrefix, type Prefix, prefixContains } from "../ip.ts";
import { portsWithout, rangesWithout } from "./address_ranges.ts";

function ranges(family: 4 | 6, ...prefixes: string[]) {
  return rangesWithout(family, prefixes.map((text) => parsePrefix(text)!));
}

Deno.test("rangesWithout() leaves out what overlaps, touches or stands at an end", () => {
  assert.deepEqual(ranges(4), ["0.0.0.0-255.255.255.255"]);
  assert.deepEqual(ranges(4, "0.0.0.0/0"), []);
  assert.deepEqual(ranges(4, "0.0.0.0/8", "255.255.255.255"), ["1.0.0.0-255.255.255.254"]);
  assert.deepEqual(
    ranges(4, "10.0.0.3", "10.0.0.1", "10.0.0.0/8", "11.0.0.0/8"),
    ["0.0.0.0-9.255.255.255", "12.0.0.0-255.255.255.255"],
  );
  assert.deepEqual(
    ranges(4, "10.0.0.0/32", "10.0.0.2/32", "fd00::/8"),
    ["0.0.0.0-9.255.255.255", "10.0.0.1", "10.0.0.3-255.255.255.255"],
  );
  assert.deepEqual(
    ranges(6, "::1", "fe80::/10"),
    ["::", "::2-fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::-" + "ffff:".repeat(7) + "ffff"],
  );
});

Deno.test("rangesWithout() holds every address that is in no prefix, and no other", () => {
  const octets = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const prefix = fc.tuple(octets, fc.integer({ min: 0, max: 32 })).map(([bytes, bits]): Prefix => ({
    bytes: maskBytes(bytes, bits),
    bits,
  }));
  const number = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  fc.assert(fc.property(fc.array(prefix, { maxLength: 6 }), octets, (prefixes, address) => {
    const isIn = rangesWithout(4, prefixes).some((range) => {
      const [from, to = from] = range.split("-").map((text) => number(parseIp(text)!));
      return number(address) >= from! && number(address) <= to!;
    });
    assert.equal(isIn, !prefixes.some((each) => prefixContains(each, address)));
  }));
});

Deno.test("portsWithout() leaves ports out", () => {
  assert.deepEqual(portsWithout([]), ["0-65535"]);
  assert.deepEqual(portsWithout([8443, 22, 22, 23]), ["0-21", "24-8442", "8444-65535"]);
  assert.deepEqual(portsWithout([0, 2, 65535]), ["1", "3-65534"]);
});
