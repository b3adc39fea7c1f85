import assert from "node:assert/strict";
import { directEndpoints, type DirectSources, serversOf } from "./exit_endpoints.ts";

const SOURCES: DirectSources = {
  servers: serversOf(["https://mesh.example.com:8443", "http://[2001:db8::3]:3128"]),
  addressesOf: (host) => host.includes(":") ? [host] : ["192.0.2.1", "2001:db8::1"],
  remote: null,
  peers: [],
  facts: { cidr4: "172.30.0.0/16", prefix6: "fd00:1::/48" },
};

function texts(sources: Partial<DirectSources>): string[] {
  return directEndpoints({ ...SOURCES, ...sources })
    .map(({ ip, protocol, port }) => `${ip} ${protocol} ${port}`);
}

Deno.test("serversOf() knows the ports that URLs leave out", () => {
  const urls = ["https://a.example", "http://b.example", "https://[::1]:9"];
  assert.deepEqual(serversOf(urls), [
    { host: "a.example", port: 443 },
    { host: "b.example", port: 80 },
    { host: "::1", port: 9 },
  ]);
});

Deno.test("directEndpoints() names servers by all their addresses, and the one that is connected", () => {
  assert.deepEqual(texts({}), [
    "192.0.2.1 tcp 8443",
    "2001:db8::1 tcp 8443",
    "2001:db8::3 tcp 3128",
  ]);
  assert.ok(texts({ remote: "192.0.2.9" }).includes("192.0.2.9 tcp 8443"));
  // What this machine reaches on itself needs no way out.
  assert.ok(!texts({ remote: "127.0.0.1" }).some((text) => text.startsWith("127.")));
});

Deno.test("directEndpoints() names SSH links of peers, but none in the mesh, and few enough", () => {
  const peer = (endpoints: string[], sshPort = 2222) => ({
    endpoints,
    links: { relays: false, sshPort },
  });
  const peers = [
    peer(["198.51.100.7:51820", "198.51.100.7:4000", "172.30.0.9:51820", "127.0.0.1:1"]),
    peer(["198.51.100.8:51820"], 0),
  ];
  const servers = { servers: [] };
  assert.deepEqual(texts({ ...servers, peers }), ["198.51.100.7 tcp 2222"]);
  const many = Array.from({ length: 300 }, (_, i) => peer([`10.0.${i >> 8}.${i & 255}:1`]));
  const all = texts({ ...servers, peers: many });
  assert.equal(all.length, 256);
  // Those that come first matter most; the order of the answer is always the same.
  assert.ok(all.includes("10.0.0.0 tcp 2222") && !all.includes("10.0.1.43 tcp 2222"));
  assert.deepEqual(
    texts({ ...servers, peers: many.slice(0, 200).reverse() }),
    texts({
      ...servers,
      peers: many.slice(0, 200),
    }),
  );
});
