import assert from "node:assert/strict";
import { Anonymiser } from "./anonymise.ts";

const CASES: [name: string, text: string, expected: RegExp][] = [
  ["public addresses", "8.8.8.8:53", /^198\.18\.0\.1:53$/],
  [
    "private ones by their range",
    "10.1.2.3 172.30.0.7 192.168.1.9",
    /^10\.0\.0\.1 172\.16\.0\.1 192\.168\.0\.1$/,
  ],
  ["a carrier's", "100.70.1.1", /^100\.64\.0\.1$/],
  [
    "IPv6 by its kind",
    "[2a00::1]:7 [fd5c::9]:8 fe80::1",
    /^\[2001:db8::1\]:7 \[fd00::1\]:8 fe80::1$/,
  ],
  ["addresses in paths", "socket:7>8.8.4.4:5", /^socket:7>198\.18\.0\.1:5$/],
  ["relays by name", "relay:mesh.example.com:8443", /^relay:relay-1\.example:8443$/],
  ["relays by address", "relay:9.9.9.9:443", /^relay:198\.18\.0\.1:443$/],
  ["ids", "node:0123456789abcdef", /^node:(?!0123456789abcdef)[0-9a-f]{16}$/],
  ["names, the longest first", "nas-2 is not nas", /^node-2 is not node-1$/],
  ["nothing in other texts", "no answer to 6 pings in 1.5 s", /^no answer to 6 pings in 1\.5 s$/],
  ["loopback", "127.0.0.1:9 ::1", /^127\.0\.0\.1:9 ::1$/],
  ["addresses that end a sentence", "no way to 8.8.8.8.", /^no way to 198\.18\.0\.1\.$/],
  ["addresses in addresses", "::ffff:8.8.8.8 is", /^2001:db8::1 is$/],
  ["relays by IPv6 address", "relay:[2a00:1450::1]:443", /^relay:\[2001:db8::1\]:443$/],
  ["hosts that nobody named", "to Www.Corp.com:22", /^to host-1\.example:22$/],
  ["names below the mesh's domain", "nas.mesh is down", /^node-1\.example is down$/],
  ["homes and keys", `/home/ann/.keys ${"aB3+".repeat(11)}=`, /^\/home\/user\/\.keys secret$/],
  ["no name in what the agent itself says", "better than ssh", /^better than ssh$/],
  ["names in what only sounds like it", "better than nas", /^better than node-1$/],
];

for (const [name, text, expected] of CASES) {
  Deno.test(`Anonymiser replaces ${name}`, () => {
    assert.match(new Anonymiser("s", ["nas", "nas-2", "ssh"]).prose(text), expected);
  });
}

Deno.test("Anonymiser replaces the same by the same, and others by others", () => {
  const anonymiser = new Anonymiser("s", []);
  const ips = Array.from({ length: 600 }, (_, i) => `8.8.${i >> 8}.${i & 255}`);
  const first = ips.map((ip) => anonymiser.prose(ip));
  assert.equal(new Set(first).size, ips.length);
  assert.deepEqual(ips.map((ip) => anonymiser.prose(ip)), first);
});

Deno.test("Anonymiser replaces names where people read, and nowhere else", () => {
  const anonymiser = new Anonymiser("s", ["ping", "relay"], ["relay", "mesh.corp.com"]);
  const value = {
    type: "ping",
    path: "relay:relay:443",
    why: "ping is off",
    relays: [{ name: "mesh.corp.com:8443" }, { name: "relay:443" }],
    snapshot: JSON.stringify({ to: "relay:mesh.corp.com:1", lastError: "ping" }),
  };
  assert.deepEqual(anonymiser.value(value), {
    type: "ping",
    path: "relay:relay-1.example:443",
    why: "node-1 is off",
    relays: [{ name: "relay-2.example:8443" }, { name: "node-2:443" }],
    snapshot: JSON.stringify({ to: "relay:relay-2.example:1", lastError: "node-1" }),
  });
});

Deno.test("Anonymiser gives ids that another salt does not give", () => {
  const id = "0123456789abcdef";
  assert.notEqual(new Anonymiser("a", []).prose(id), new Anonymiser("b", []).prose(id));
});
