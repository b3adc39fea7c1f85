/**
 * Our nodes and wireguard-go.
 * @module
 */
import { strict as assert } from "node:assert";
import { meshTest } from "../e2e/lab/mesh.ts";
import type { Lan } from "../e2e/lab/topology.ts";
import { mustPing, PingStream, serveBulk } from "../e2e/lab/traffic.ts";
import { interopTests, type StockMachine } from "./scenario.ts";
import {
  generateKeyPair,
  type StockDevice,
  WireGuardGo,
  wireguardPeersConfig,
} from "./wireguard.ts";

const needs = { tools: ["wireguard-go", "wg", "iperf3"] } as const;

/** A machine on the lab's network that runs wireguard-go. */
async function bootWireGuardGo(lan: Lan): Promise<StockMachine> {
  const host = await lan.add("stock");
  let running: WireGuardGo | null = null;
  return {
    ip4: host.ip4,
    async start(device: StockDevice) {
      await running?.[Symbol.asyncDispose]();
      return running = await WireGuardGo.start(host.namespace, device);
    },
    shell: (script) => host.namespace.run(["sh", "-c", script]),
    async [Symbol.asyncDispose]() {
      await running?.[Symbol.asyncDispose]();
    },
  };
}

interopTests({ name: "wireguard-go", needs, boot: bootWireGuardGo });

const keys = generateKeyPair();
const PORT = 8080;

meshTest({
  name: "a plain device may ping and no more, until this node's rules let it in",
  needs,
  mesh: {
    nodes: [],
    start: {
      c: {
        config: wireguardPeersConfig({
          publicKey: keys.publicKey,
          ip4: "10.55.0.2",
          isLetIn: false,
        }),
      },
    },
  },
  run: async (mesh) => {
    const node = mesh.coordinator;
    const device = await mesh.lan.add("stock");
    const { ip4 } = await node.addresses();
    await using _server = await serveBulk(node.machine);
    await using _stock = await WireGuardGo.start(device.namespace, {
      privateKey: keys.privateKey,
      addresses: ["10.55.0.2/32"],
      peers: [{
        publicKey: await node.wireguardKey(),
        allowedIps: [`${ip4}/32`],
        endpoint: `${node.host.ip4}:${(await node.mustStatus()).udpPort}`,
      }],
    });
    const connects = async () => {
      const open = ["timeout", "2", "bash", "-c", `exec 3<>/dev/tcp/${ip4}/${PORT}`];
      return (await device.namespace.run(open)).code === 0;
    };
    await mustPing(device.namespace, ip4);
    assert.ok(!await connects());
    assert.ok((await node.mustStatus()).drops["no-rule"]! > 0);
    assert.match((await node.cli("status")).stdout, /no-rule \d+[^]*filter trace PEER PORT/);
    const { stdout } = await node.cli("filter", "trace", "stock", `${PORT}`);
    assert.match(stdout, /denied/);
    const [command] = /filter add .*$/m.exec(stdout)!;
    assert.equal(command, `filter add --source-peer stock --protocol tcp --port ${PORT}`);
    const added = await node.cli(...command.split(" "));
    assert.equal(added.code, 0, added.stderr);
    assert.ok(await connects());
  },
});

meshTest({
  name: "replayed handshakes and data change nothing, wherever they come from",
  needs,
  mesh: {
    nodes: [],
    start: {
      c: { config: wireguardPeersConfig({ publicKey: keys.publicKey, ip4: "10.55.0.2" }) },
    },
  },
  run: async (mesh) => {
    const node = mesh.coordinator;
    const middle = await mesh.lan.add("m");
    const device = await mesh.lan.add("stock");
    const { udpPort } = await node.mustStatus();
    await using recorder = middle.namespace.deno("tests/e2e/lab/udp_recorder.ts", [
      ...["40000", node.host.ip4, `${udpPort}`],
    ]);
    const [, port] = await recorder.waitForOutput(/upstream (\d+)/);
    const { ip4 } = await node.addresses();
    await using stock = await WireGuardGo.start(device.namespace, {
      privateKey: keys.privateKey,
      addresses: ["10.55.0.2/32"],
      peers: [{
        publicKey: await node.wireguardKey(),
        allowedIps: [`${ip4}/32`],
        endpoint: `${middle.ip4}:40000`,
      }],
    });
    await using stream = await PingStream.start(device.namespace, ip4, 20);
    const handshakeAt = (await stock.peer()).lastHandshakeAt;
    const stockReport = async () => {
      const { peers, drops } = await node.mustStatus();
      return { peer: peers.find((peer) => peer.name === "stock")!, drops };
    };
    const before = await stockReport();
    for (let round = 1; round <= 3; round++) {
      recorder.kill("SIGUSR1");
      // A signal that comes while the one before it is pending is merged with it.
      await recorder.waitForOutput(new RegExp(`(replayed \\d+\\s+){${round}}`));
      await stream.waitForReply();
    }

    const after = await stockReport();
    assert.equal(after.peer.endpoint, `${middle.ip4}:${port}`, "the attacker does not become it");
    assert.equal((await stock.peer()).lastHandshakeAt, handshakeAt, "no session was replaced");
    assert.ok((after.drops.replay ?? 0) > (before.drops.replay ?? 0), "replays are counted");
    assert.equal(stream.lost(), 0);
  },
});
