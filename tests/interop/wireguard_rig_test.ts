/**
 * The interoperability rig itself: two stock wireguard-go devices must talk before ours may be blamed.
 * @module
 */
import { strict as assert } from "node:assert";
import { Lan } from "../e2e/lab/topology.ts";
import { mustPing } from "../e2e/lab/traffic.ts";
import { labTest } from "../skip.ts";
import { generateKeyPair, parseDump, WireGuardGo } from "./wireguard.ts";

labTest({
  name: "WireGuardGo: two stock devices handshake and carry IPv4 and IPv6",
  needs: { tools: ["wireguard-go", "wg"] },
  run: async () => {
    await using lan = await Lan.create(["a", "b"]);
    const [a, b] = [lan.host("a"), lan.host("b")];
    const [keysA, keysB] = [generateKeyPair(), generateKeyPair()];
    await using wireguardA = await WireGuardGo.start(a.namespace, {
      privateKey: keysA.privateKey,
      listenPort: 51820,
      addresses: ["10.55.0.1/32", "fd55::1/128"],
      peers: [{ publicKey: keysB.publicKey, allowedIps: ["10.55.0.2/32", "fd55::2/128"] }],
    });
    await using _wireguardB = await WireGuardGo.start(b.namespace, {
      privateKey: keysB.privateKey,
      addresses: ["10.55.0.2/32", "fd55::2/128"],
      peers: [{
        publicKey: keysA.publicKey,
        allowedIps: ["10.55.0.1/32", "fd55::1/128"],
        endpoint: `${a.ip4}:51820`,
      }],
    });
    assert.equal((await wireguardA.peer()).lastHandshakeAt, null);
    await mustPing(b.namespace, "10.55.0.1");
    await mustPing(a.namespace, "fd55::2");
    const peer = await wireguardA.peer();
    assert.equal(peer.publicKey, keysB.publicKey);
    assert.ok(Math.abs(Date.now() - peer.lastHandshakeAt!) < 10_000);
    assert.ok(peer.bytesReceived > 300 && peer.bytesSent > 300);
    assert.match(wireguardA.log, /Received handshake initiation/);
  },
});

Deno.test("parseDump() reads absent fields as null and empty", () => {
  const text = "priv\tpub\t51820\toff\nkey=\t(none)\t(none)\t(none)\t0\t0\t0\toff\n";
  assert.deepEqual(parseDump(text), [{
    publicKey: "key=",
    endpoint: null,
    allowedIps: [],
    lastHandshakeAt: null,
    bytesReceived: 0,
    bytesSent: 0,
  }]);
});
