/**
 * What every stock WireGuard implementation has to do with ours, whatever kernel it runs on.
 * @module
 */
import { strict as assert } from "node:assert";
import { Mesh, withLogs } from "../e2e/lab/mesh.ts";
import type { Node } from "../e2e/lab/node.ts";
import { lose } from "../e2e/lab/nft.ts";
import { type Output, waitFor } from "../e2e/lab/process.ts";
import type { Lan } from "../e2e/lab/topology.ts";
import { mustPing, PingStream } from "../e2e/lab/traffic.ts";
import { labTest, type Needs } from "../skip.ts";
import {
  generateKeyPair,
  type KeyPair,
  type StockDevice,
  type StockWireGuard,
  wireguardPeersConfig,
} from "./wireguard.ts";

/** A machine with a stock implementation. */
export interface StockMachine extends AsyncDisposable {
  readonly ip4: string;
  /** Creates or replaces the device `wg0`. */
  start(device: StockDevice): Promise<StockWireGuard>;
  /** Runs shell commands. */
  shell(script: string): Promise<Output>;
  /** Sends every fourth datagram before those that precede it, where the kernel can do that. */
  reorder?(): Promise<void>;
}

/** An implementation and how to get a machine with it. */
export interface Implementation {
  readonly name: string;
  readonly needs: Needs;
  /** @param mtu Of the machine's interface, in bytes. */
  boot(lan: Lan, mtu: number): Promise<StockMachine>;
}

const ADDRESSES = { ip4: "10.55.0.2", ip6: "fd55::2" };
const STOCK_PORT = 51821;
const UNDERLAY_MTU = 1500;

/** Registers the tests for one implementation. */
export function interopTests(implementation: Implementation): void {
  const { name } = implementation;
  labTest({
    name: `${name} calls us: handshake with a preshared key, IPv4, IPv6, TCP, roaming, restart`,
    needs: implementation.needs,
    run: () => stockCalls(implementation),
  });
  labTest({
    name: `we call ${name}: handshake, traffic both ways, rekeys without loss`,
    needs: implementation.needs,
    run: () => weCall(implementation),
  });
  for (const [mtu, underlay] of [[1280, 1500], [8920, 9000]] as const) {
    labTest({
      name: `${name} and we: TCP and large pings in a tunnel of MTU ${mtu}, with datagrams lost`,
      needs: implementation.needs,
      run: () => onBadNetwork(implementation, mtu, underlay),
    });
  }
}

async function onBadNetwork(
  implementation: Implementation,
  mtu: number,
  underlay: number,
): Promise<void> {
  const keys = generateKeyPair();
  const config = wireguardPeersConfig({ ...ADDRESSES, publicKey: keys.publicKey });
  const start = { c: { config, args: ["--mtu", `${mtu}`] } };
  await using mesh = await Mesh.create({ nodes: [], mtu: underlay, start });
  await using machine = await implementation.boot(mesh.lan, underlay);
  await withLogs(mesh, async () => {
    const node = mesh.coordinator;
    const ours = await ourSide(node);
    await machine.start({
      privateKey: keys.privateKey,
      addresses: [`${ADDRESSES.ip4}/32`, `${ADDRESSES.ip6}/128`],
      peers: [{ ...ours.peer, endpoint: ours.endpoint }],
      mtu,
    });
    await shellMust(machine, `ping -c 2 ${ours.ip4}`);
    for (const address of [ADDRESSES.ip4, ADDRESSES.ip6]) {
      await mustPing(node.machine, address, { size: mtu + 700, timeoutMs: 5_000 });
    }
    await machine.reorder?.();
    await using loss = await lose(node.machine, 1, "udp length > 1000");
    for (const flags of ["", "-R"]) await checkTcp(machine, node, ours.ip4, flags);
    await checkTcp(machine, node, ours.ip6, "");
    assert.ok((await loss.lost()) > 0, "the rule lost something");
  });
}

async function stockCalls(implementation: Implementation): Promise<void> {
  const keys = generateKeyPair();
  const presharedKey = generateKeyPair().privateKey;
  const config = wireguardPeersConfig({ ...ADDRESSES, publicKey: keys.publicKey, presharedKey });
  await using mesh = await Mesh.create({ nodes: [], start: { c: { config } } });
  await using machine = await implementation.boot(mesh.lan, UNDERLAY_MTU);
  await withLogs(mesh, () => stockCallsOn(mesh.coordinator, machine, keys, presharedKey));
}

async function stockCallsOn(
  node: Node,
  machine: StockMachine,
  keys: KeyPair,
  presharedKey: string,
): Promise<void> {
  const ours = await ourSide(node);
  const device: StockDevice = {
    privateKey: keys.privateKey,
    addresses: [`${ADDRESSES.ip4}/32`, `${ADDRESSES.ip6}/128`],
    peers: [{ ...ours.peer, presharedKey, endpoint: ours.endpoint }],
  };
  const stock = await machine.start(device);
  await shellMust(machine, `ping -c 3 ${ours.ip4}`);
  assert.notEqual((await stock.peer()).lastHandshakeAt, null);
  await shellMust(machine, `ping -c 2 ${ours.ip6}`);
  await mustPing(node.machine, ADDRESSES.ip4, { timeoutMs: 5_000 });
  await mustPing(node.machine, ADDRESSES.ip6, { timeoutMs: 5_000 });
  await mustPing(node.machine, "stock.mesh", { timeoutMs: 5_000 });
  for (const flags of ["", "-R"]) await checkTcp(machine, node, ours.ip4, flags);

  // Another source port is what a NAT that forgot its mapping looks like.
  await shellMust(machine, `wg set wg0 listen-port ${STOCK_PORT}`);
  await shellMust(machine, `ping -c 2 ${ours.ip4}`);
  await mustPing(node.machine, ADDRESSES.ip4, { timeoutMs: 5_000 });
  assert.equal((await reportOfStock(node)).endpoint, `${machine.ip4}:${STOCK_PORT}`);

  await shellMust(machine, "ip link delete wg0");
  await machine.start(device);
  await shellMust(machine, `ping -c 2 ${ours.ip4}`);
}

async function weCall(implementation: Implementation): Promise<void> {
  const keys = generateKeyPair();
  await using mesh = await Mesh.create({ nodes: [] });
  await using machine = await implementation.boot(mesh.lan, UNDERLAY_MTU);
  const endpoint = `${machine.ip4}:${STOCK_PORT}`;
  const config = wireguardPeersConfig({ ...ADDRESSES, publicKey: keys.publicKey, endpoint });
  const env = { TUNNELMESH_TEST_REKEY_AFTER_MS: "3000" };
  const node = await mesh.joinWith("a", { config, env });
  await withLogs(mesh, () => weCallFrom(node, machine, keys));
}

async function weCallFrom(node: Node, machine: StockMachine, keys: KeyPair): Promise<void> {
  const ours = await ourSide(node);
  const stock = await machine.start({
    privateKey: keys.privateKey,
    listenPort: STOCK_PORT,
    addresses: [`${ADDRESSES.ip4}/32`, `${ADDRESSES.ip6}/128`],
    peers: [ours.peer],
  });
  await using stream = await PingStream.start(node.machine, ADDRESSES.ip4, 50);
  await mustPing(node.machine, ADDRESSES.ip6, { timeoutMs: 5_000 });
  await shellMust(machine, `ping -c 2 ${ours.ip4}`);
  await checkTcp(machine, node, ours.ip4, "");
  // A saturated link may drop a ping from a full queue; from here on only rekeys could.
  await stream.waitForReply();
  const lostBefore = stream.lost();

  const handshakes = new Set<number>();
  await waitFor("three more handshakes", async () => {
    handshakes.add((await stock.peer()).lastHandshakeAt!);
    return handshakes.size >= 4;
  }, { timeoutMs: 20_000, everyMs: 200 });
  assert.equal(stream.lost() - lostBefore, 0, "rekeys lose nothing");
  assert.equal((await stock.peer()).endpoint, `${node.host.ip4}:51820`);
}

/** What a stock device has to know about a node of ours. */
async function ourSide(node: Node) {
  const { ip4, ip6 } = await node.addresses();
  const { udpPort } = await node.mustStatus();
  return {
    ip4,
    ip6,
    endpoint: `${node.host.ip4}:${udpPort}`,
    peer: {
      publicKey: await node.wireguardKey(),
      allowedIps: [`${ip4}/32`, `${ip6}/128`],
    },
  };
}

async function reportOfStock(node: Node) {
  const { peers } = await node.mustStatus();
  const report = peers.find((peer) => peer.name === "stock");
  assert.ok(report, "status lists the stock device");
  return report;
}

async function checkTcp(
  machine: StockMachine,
  node: Node,
  address: string,
  flags: string,
): Promise<void> {
  await using listener = node.machine.spawn(["iperf3", "-s", "-1", "--forceflush"]);
  await listener.waitForOutput(/Server listening/);
  const report = await shellMust(machine, `iperf3 -J -c ${address} -t 2 ${flags}`);
  const bytes = JSON.parse(report).end.sum_received.bytes;
  assert.ok(bytes > 1e6, `${bytes} bytes by TCP ${flags}`);
}

async function shellMust(machine: StockMachine, script: string): Promise<string> {
  const output = await machine.shell(script);
  if (output.code !== 0) {
    throw new Error(`Cannot run "${script}" at the stock peer: ${output.stdout}${output.stderr}`);
  }
  return output.stdout;
}
