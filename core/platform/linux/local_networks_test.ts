import { strict as assert } from "node:assert";
import { formatPrefix } from "../../ip.ts";
import { guestBridges, networksOf } from "./local_networks.ts";

Deno.test("guestBridges() takes bridges of containers, not one that the LAN is on", () => {
  const kind = (info_kind: string) => ({ linkinfo: { info_kind } });
  const links = [
    { ifname: "eth0", master: "br-lan" },
    { ifname: "br-lan", ...kind("bridge") },
    { ifname: "tap0", master: "br-lan", ...kind("tun") },
    { ifname: "docker0", ...kind("bridge") },
    { ifname: "veth1", master: "docker0", ...kind("veth") },
    { ifname: "virbr0", ...kind("bridge") },
    { ifname: "wg0", ...kind("wireguard") },
  ];
  assert.deepEqual(guestBridges(links), ["docker0", "virbr0"]);
});

Deno.test("networksOf() tells the LAN from guests and leaves meshes and link-local addresses out", () => {
  const address = (name: string, ip: string, bits: number) => ({
    name,
    address: ip,
    cidr: `${ip}/${bits}`,
  });
  const { lan, containers, addresses } = networksOf(
    [
      address("lo", "127.0.0.1", 8),
      address("eth0", "192.168.1.2", 24),
      address("eth0", "2001:db8::2", 64),
      address("eth0", "fe80::1", 64),
      address("docker0", "172.17.0.1", 16),
      address("tun-mesh0", "172.30.0.5", 16),
    ],
    ["tun-mesh0"],
    ["docker0"],
  );
  assert.deepEqual(lan.map(formatPrefix), ["192.168.1.0/24", "2001:db8::/64"]);
  assert.deepEqual(containers.map(formatPrefix), ["172.17.0.0/16"]);
  assert.deepEqual(addresses.map(formatPrefix), [
    "192.168.1.2/32",
    "2001:db8::2/128",
    "172.17.0.1/32",
  ]);
});
