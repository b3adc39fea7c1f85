import assert from "node:assert/strict";
import { localEndpoints } from "./endpoints.ts";

Deno.test("localEndpoints() offers what others can reach, IPv4 first", () => {
  const addresses = [
    { name: "lo", address: "127.0.0.1" },
    { name: "eth0", address: "2001:db8::7" },
    { name: "eth0", address: "192.0.2.7" },
    { name: "eth0", address: "fe80::1%eth0" },
    { name: "wlan0", address: "169.254.3.4" },
    { name: "docker0", address: "172.17.0.1" },
    { name: "tun-mesh0", address: "172.30.0.1" },
    { name: "tun-work", address: "172.29.0.1" },
    { name: "wlan0", address: "192.0.2.7" },
  ];
  assert.deepEqual(localEndpoints(addresses, ["tun-mesh0", "tun-work"], 51820), [
    "192.0.2.7:51820",
    "[2001:db8::7]:51820",
  ]);
});
