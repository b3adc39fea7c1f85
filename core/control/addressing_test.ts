import assert from "node:assert/strict";
import { parsePrefix, prefixContains } from "../ip.ts";
import { parseIp } from "../ip.ts";
import { isHostAddress4, meshAddress6, meshPrefix6 } from "./addressing.ts";
import { isCandidateIp, usableEndpoints } from "./candidates.ts";

Deno.test("meshPrefix6() is a unique local /48 that follows from the mesh id", () => {
  const prefix = meshPrefix6("00112233445566778899aabbccddeeff");
  assert.match(prefix, /^fd[0-9a-f:]+::\/48$/);
  assert.equal(prefix, meshPrefix6("00112233445566778899aabbccddeeff"));
  assert.notEqual(prefix, meshPrefix6("10112233445566778899aabbccddeeff"));
});

Deno.test("meshAddress6() puts the peer id behind the prefix", () => {
  const address = meshAddress6("fd12:3456:789a::/48", "0123456789abcdef");
  assert.equal(address, "fd12:3456:789a:0:123:4567:89ab:cdef");
  assert.ok(prefixContains(parsePrefix("fd12:3456:789a::/48")!, parseIp(address)!));
});

const HOSTS: [prefix: string, address: string, expected: boolean][] = [
  ["172.30.0.0/16", "172.30.0.1", true],
  ["172.30.0.0/16", "172.30.0.255", true],
  ["172.30.0.0/16", "172.30.0.0", false],
  ["172.30.0.0/16", "172.30.255.255", false],
  ["172.30.0.0/16", "172.31.0.1", false],
  ["10.0.0.0/30", "10.0.0.2", true],
  ["10.0.0.0/30", "10.0.0.3", false],
  ["10.0.0.0/8", "fd00::1", false],
  ["10.0.0.0/8", "no address", false],
];

Deno.test("isHostAddress4() knows network and broadcast addresses", () => {
  for (const [prefix, address, expected] of HOSTS) {
    assert.equal(
      isHostAddress4(parsePrefix(prefix)!, address),
      expected,
      `${address} in ${prefix}`,
    );
  }
});

const FACTS = { cidr4: "172.30.0.0/16", prefix6: "fd12:3456:789a::/48" };
const CANDIDATES: [ip: string, expected: boolean][] = [
  ["192.0.2.1", true],
  ["10.1.2.3", true],
  ["2001:db8::1", true],
  ["fd99::1", true],
  ["127.0.0.1", false],
  ["0.0.0.0", false],
  ["224.0.0.251", false],
  ["255.255.255.255", false],
  ["::1", false],
  ["fe80::1", false],
  ["ff02::1", false],
  ["::ffff:192.0.2.1", false],
  ["172.30.4.5", false],
  ["fd12:3456:789a::1", false],
];

Deno.test("isCandidateIp() refuses addresses of no peer and those inside the mesh", () => {
  for (const [ip, expected] of CANDIDATES) assert.equal(isCandidateIp(ip, FACTS), expected, ip);
});

Deno.test("usableEndpoints() keeps order, drops repetitions and bounds the number", () => {
  const many = Array.from({ length: 40 }, (_, i) => `192.0.2.${i}:1`);
  assert.equal(usableEndpoints(many, FACTS).length, 16);
  assert.deepEqual(
    usableEndpoints(["192.0.2.2:1", "127.0.0.1:1", "192.0.2.1:1", "192.0.2.2:1", "x"], FACTS),
    ["192.0.2.2:1", "192.0.2.1:1"],
  );
});
