import assert from "node:assert/strict";
import { type ExitPolicy, NO_POLICY } from "../exit/policy.ts";
import type { NodeMachine } from "../node.ts";
import { exitHealth } from "./exit_health.ts";
import { peerIdByName, plainRanges, requireExit, wayPeers } from "./exit_peers.ts";
import { formatPrefix, parsePrefix } from "../ip.ts";

const ME = "0000000000000001", HOME = "0000000000000002", NAS = "0000000000000003";

/** A node that knows an exit, another peer and a plain WireGuard peer, as far as it is asked. */
function node({ answeredAt = 1_000, session = "up" } = {}): NodeMachine {
  const peers = [
    { slot: 0, id: HOME, name: "home", aliases: ["cabin"], allowedIps: [] },
    { slot: 1, id: NAS, name: "nas", aliases: [], allowedIps: [] },
    { slot: 2, id: null, name: "phone", aliases: [], allowedIps: [parsePrefix("10.9.0.0/24")!] },
  ];
  const records = new Map([
    [HOME, { record: { name: "home", exit: true }, online: true }],
    [NAS, { record: { name: "nas" }, online: false }],
  ]);
  const path = { lastAnswerAt: answeredAt };
  return {
    id: ME,
    peers: new Map(peers.map((peer) => [peer.slot, peer])),
    slotOf: (id: string) => peers.find((peer) => peer.id === id)?.slot,
    meshPeer: (id: string) => records.has(id) ? { id, ...records.get(id) } : undefined,
    device: { report: () => ({ state: session }) },
    paths: { pathsOf: () => ({ current: "udp", paths: new Map([["udp", path]]) }) },
  } as unknown as NodeMachine;
}

const DENIED: ExitPolicy = { ...NO_POLICY, mayUseExit: (from) => from !== ME };

Deno.test("peerIdByName() takes ids, names and aliases of members, not of plain peers", () => {
  const found = [HOME, "home", "cabin", "nas", "phone", "none"].map((name) =>
    peerIdByName(node(), name)
  );
  assert.deepEqual(found, [HOME, HOME, HOME, NAS, null, null]);
});

Deno.test("requireExit() says why a peer cannot be an exit", () => {
  requireExit(node(), NO_POLICY, "cabin");
  const refuses = (name: string, policy: ExitPolicy, code: string) =>
    assert.throws(() => requireExit(node(), policy, name), { code });
  refuses("none", NO_POLICY, "peer-unknown");
  refuses("phone", NO_POLICY, "peer-unknown");
  refuses("nas", NO_POLICY, "config-invalid");
  refuses("home", DENIED, "forbidden");
  refuses("home", { ...NO_POLICY, mayOfferExit: () => false }, "forbidden");
});

Deno.test("exitHealth() wants an offer, leave, a session and answers", () => {
  const health = (id: string, made = node(), policy = NO_POLICY) =>
    exitHealth(made, policy, id, 2_000);
  assert.equal(health(HOME), "up");
  assert.equal(health("name:none"), "down");
  assert.equal(health(NAS), "refused");
  assert.equal(health(HOME, node(), DENIED), "refused");
  assert.equal(health(HOME, node({ session: "handshaking" })), "down");
  assert.equal(health(HOME, node({ answeredAt: -2_000 })), "down");
});

Deno.test("wayPeers() and plainRanges() tell members from plain peers", () => {
  assert.deepEqual(
    wayPeers(node()).map(({ name, isOnline, offers }) => {
      return [name, isOnline, offers.isExit];
    }),
    [["home", true, true], ["nas", false, false]],
  );
  assert.deepEqual(plainRanges(node()).map(formatPrefix), ["10.9.0.0/24"]);
});
