/**
 * Keys are renewed without loss and without a coordinator, in real time and with the protocol's own
 * timers: a node's session with a node, and a stock device's with a node.
 *
 * This is the only test that waits for REKEY_AFTER_TIME (120 s); the simulator covers longer times.
 * @module
 */
import { strict as assert } from "node:assert";
import { generateKeyPair, WireGuardGo, wireguardPeersConfig } from "../interop/wireguard.ts";
import { meshTest } from "./lab/mesh.ts";
import { waitFor } from "./lab/process.ts";
import { mustPing, PingStream } from "./lab/traffic.ts";

const LASTS_MS = 155_000;
const stock = generateKeyPair();

meshTest({
  name: "155 s without a coordinator: traffic, rekeys and names go on, nothing is lost",
  needs: { tools: ["wireguard-go", "wg"] },
  mesh: {
    start: {
      a: { config: wireguardPeersConfig({ publicKey: stock.publicKey, ip4: "10.55.0.2" }) },
    },
  },
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    const device = (await mesh.lan.add("s")).namespace;
    const [addressesA, addressesB] = [await a.addresses(), await b.addresses()];
    await using wireguard = await WireGuardGo.start(device, {
      privateKey: stock.privateKey,
      addresses: ["10.55.0.2/32"],
      peers: [{
        publicKey: await a.wireguardKey(),
        allowedIps: [`${addressesA.ip4}/32`],
        endpoint: `${a.host.ip4}:${(await a.mustStatus()).udpPort}`,
      }],
    });
    await using fromStock = await PingStream.start(device, addressesA.ip4, 100);
    await using fromNode = await PingStream.start(a.machine, addressesB.ip4, 100);
    const firstHandshakeAt = (await wireguard.peer()).lastHandshakeAt!;
    await mesh.coordinator.killHard();

    const start = performance.now();
    await waitFor("the end of the run", async () => {
      await mustPing(b.machine, "a.mesh", { count: 1 });
      return performance.now() - start > LASTS_MS;
    }, { timeoutMs: LASTS_MS + 20_000, everyMs: 5_000 });

    assert.deepEqual([fromStock.lost(), fromNode.lost()], [0, 0]);
    assert.ok(fromNode.longestGapMs() < 1_500, `gap of ${fromNode.longestGapMs()} ms`);
    assert.ok((await wireguard.peer()).lastHandshakeAt! > firstHandshakeAt + 100_000);
    const status = await a.mustStatus();
    const peer = status.peers.find((one) => one.name === "b")!;
    assert.ok(peer.lastHandshakeAgeMs! < 60_000, `handshake ${peer.lastHandshakeAgeMs} ms ago`);
    assert.notEqual(status.coordinator.state, "connected");
  },
});
