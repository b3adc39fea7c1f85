import { strict as assert } from "node:assert";
import { formatPrefix, parsePrefix } from "./ip.ts";
import { type NodePeer, routesOf } from "./node_peer.ts";
import { buildRouteTable, lookup4, NO_MATCH, routeTableWords } from "./route/lpm.ts";

function peer(slot: number, id: string | null, ...allowedIps: string[]): NodePeer {
  return {
    slot,
    id,
    name: `n${slot}`,
    aliases: [],
    addresses: [],
    wireguardKey: "",
    allowedIps: allowedIps.map((text) => parsePrefix(text)!),
  };
}

Deno.test("routesOf() leads networks to peers, and takes nobody's address for it", () => {
  const [a, b] = ["00000000000000aa", "00000000000000ab"] as const;
  const peers = [
    peer(0, a, "172.30.0.2/32"),
    peer(1, b, "172.30.0.3/32"),
    peer(2, null, "10.9.0.0/24"),
  ];
  const ways = new Map([
    [a, ["128.0.0.0/1", "172.30.0.3/32"].map((text) => parsePrefix(text)!)],
    ["00000000000000ff", [parsePrefix("10.5.0.0/16")!]],
  ]);
  const routes = routesOf(peers, ways);
  assert.ok(routes.every(({ prefix }) => formatPrefix(prefix) !== "10.5.0.0/16"), "no such peer");
  const table = new Uint32Array(routeTableWords(routes.length));
  buildRouteTable(table, routes);
  const find = (ip: string) => {
    const [first, second, third, last] = ip.split(".").map(Number);
    return lookup4(table, (first! << 24) | (second! << 16) | (third! << 8) | last!);
  };
  const found = ["198.51.100.1", "172.30.0.2", "172.30.0.3", "10.9.0.7", "10.5.0.1"].map(find);
  assert.deepEqual(found, [0, 0, 1, 2, NO_MATCH]);
});
