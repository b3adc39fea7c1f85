/**
 * Stock WireGuard devices for interoperability tests: keys, `wg setconf` text, `wg show dump`, and
 * wireguard-go on a machine of the lab.
 * @module
 */
import { x25519 } from "@noble/curves/ed25519.js";
import type { Namespace } from "../e2e/lab/netns.ts";
import type { Process } from "../e2e/lab/process.ts";

/** A Curve25519 key pair, base64 as WireGuard writes it. */
export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** One `[Peer]` section. */
export interface StockPeer {
  readonly publicKey: string;
  readonly allowedIps: readonly string[];
  readonly endpoint?: string;
  readonly presharedKey?: string;
  readonly keepaliveSeconds?: number;
}

/** A device: its `[Interface]` section, addresses with prefix lengths, and peers. */
export interface StockDevice {
  readonly privateKey: string;
  readonly listenPort?: number;
  readonly addresses: readonly string[];
  readonly peers: readonly StockPeer[];
  readonly mtu?: number;
}

/** One peer line of `wg show dump`. */
export interface PeerDump {
  readonly publicKey: string;
  readonly endpoint: string | null;
  readonly allowedIps: readonly string[];
  /** Wall-clock milliseconds; null before the first handshake. */
  readonly lastHandshakeAt: number | null;
  readonly bytesReceived: number;
  readonly bytesSent: number;
}

/** The same commands on a machine of the lab and inside a virtual machine. */
export interface StockWireGuard {
  /** The state of the only peer. */
  peer(): Promise<PeerDump>;
}

/** Makes a key pair. */
export function generateKeyPair(): KeyPair {
  const secret = x25519.utils.randomSecretKey();
  return { privateKey: secret.toBase64(), publicKey: x25519.getPublicKey(secret).toBase64() };
}

/** The text that `wg setconf` takes. */
export function formatSetconf(device: StockDevice): string {
  const lines = ["[Interface]", `PrivateKey = ${device.privateKey}`];
  if (device.listenPort !== undefined) lines.push(`ListenPort = ${device.listenPort}`);
  for (const peer of device.peers) {
    lines.push("[Peer]", `PublicKey = ${peer.publicKey}`);
    lines.push(`AllowedIPs = ${peer.allowedIps.join(", ")}`);
    if (peer.endpoint) lines.push(`Endpoint = ${peer.endpoint}`);
    if (peer.presharedKey) lines.push(`PresharedKey = ${peer.presharedKey}`);
    if (peer.keepaliveSeconds) lines.push(`PersistentKeepalive = ${peer.keepaliveSeconds}`);
  }
  return lines.join("\n") + "\n";
}

/** Reads `wg show INTERFACE dump`: tab-separated, the first line is the device (wg(8)). */
export function parseDump(text: string): PeerDump[] {
  return text.trim().split("\n").slice(1).map((line) => {
    const [publicKey, , endpoint, allowedIps, handshake, received, sent] = line.split("\t");
    return {
      publicKey: publicKey!,
      endpoint: endpoint === "(none)" ? null : endpoint!,
      allowedIps: allowedIps === "(none)" ? [] : allowedIps!.split(","),
      lastHandshakeAt: handshake === "0" ? null : Number(handshake) * 1000,
      bytesReceived: Number(received),
      bytesSent: Number(sent),
    };
  });
}

/** What {@link wireguardPeersConfig} writes down. */
export interface StockPeerConfig {
  readonly publicKey: string;
  /** The device's addresses; the IPv6 one is optional. */
  readonly ip4: string;
  readonly ip6?: string;
  /** Where our node reaches it; without one it has to call first. */
  readonly endpoint?: string;
  readonly presharedKey?: string;
  /** Whether the node's file lets it in; default true. */
  readonly isLetIn?: boolean;
}

/** Our node's configuration file for one stock device, named `stock`. */
export function wireguardPeersConfig(peer: StockPeerConfig): string {
  const allowedIps = [`${peer.ip4}/32`, ...peer.ip6 ? [`${peer.ip6}/128`] : []];
  return [
    "wireguard_peers:",
    "  - name: stock",
    `    public_key: "${peer.publicKey}"`,
    `    allowed_ips: ${JSON.stringify(allowedIps)}`,
    ...peer.endpoint ? [`    endpoint: "${peer.endpoint}"`] : [],
    ...peer.presharedKey ? [`    preshared_key: "${peer.presharedKey}"`] : [],
    ...peer.isLetIn === false ? [] : FILTER,
    "",
  ].join("\n");
}

/** It is no member, so that the mesh's policy is silent about it. */
const FILTER = [
  "filter:",
  "  rules:",
  "    - { protocol: any, action: allow, source_peer: stock }",
];

/** The shell lines that give interface `name` its addresses and routes, on any Linux. */
export function formatAddressing(device: StockDevice, name: string): string {
  const routes = device.peers.flatMap((peer) => peer.allowedIps);
  return [
    ...device.addresses.map((address) => `ip address add ${address} dev ${name}`),
    `ip link set ${name} mtu ${device.mtu ?? 1420} up`,
    ...routes.map((route) => `ip route replace ${route} dev ${name}`),
  ].join(" && ");
}

/** wireguard-go in a namespace; dispose of it to end it. */
export class WireGuardGo implements StockWireGuard, AsyncDisposable {
  readonly #machine: Namespace;
  readonly #process: Process;
  readonly #name: string;

  private constructor(machine: Namespace, process: Process, name: string) {
    this.#machine = machine;
    this.#process = process;
    this.#name = name;
  }

  /** Starts it on a machine with that configuration. */
  static async start(
    machine: Namespace,
    device: StockDevice,
    name = "wg0",
  ): Promise<WireGuardGo> {
    const process = machine.spawn(["wireguard-go", "-f", name], {
      env: { WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: "1", LOG_LEVEL: "verbose" },
    });
    const wireguard = new WireGuardGo(machine, process, name);
    try {
      // Not by asking `wg`: it removes a socket that is bound and does not listen yet.
      await process.waitForOutput(/UAPI listener started/);
      await wireguard.configure(device);
      return wireguard;
    } catch (error) {
      await wireguard[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Replaces keys and peers, adds addresses and routes. */
  async configure(device: StockDevice): Promise<void> {
    const file = `${this.#machine.directory}/home/${this.#name}.conf`;
    await Deno.writeTextFile(file, formatSetconf(device), { mode: 0o600 });
    await this.#machine.must(["wg", "setconf", this.#name, file]);
    await this.#machine.must(["sh", "-c", formatAddressing(device, this.#name)]);
  }

  async peer(): Promise<PeerDump> {
    const peers = parseDump(await this.#machine.must(["wg", "show", this.#name, "dump"]));
    if (peers.length !== 1) throw new Error(`Expected one peer, found ${peers.length}`);
    return peers[0]!;
  }

  /** What wireguard-go has logged. */
  get log(): string {
    return this.#process.stdout + this.#process.stderr;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
