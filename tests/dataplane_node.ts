/**
 * A node's packet path in memory: both workers' objects over one shared state, with arrays where the
 * daemon has a TUN and a socket. Keys are put in by hand; there is no session machine here.
 * @module
 */
import { nobleAead } from "../core/dataplane/aead.ts";
import { SharedState } from "../core/dataplane/layout.ts";
import { RxPath, VERDICT } from "../core/dataplane/rx_path.ts";
import { mapped, PeerTable } from "../core/dataplane/table.ts";
import { DATA_HEADER, DATA_TRAILER, TxPath } from "../core/dataplane/tx_path.ts";
import { type Endpoint, type Ip, parseEndpoint, parsePrefix } from "../core/ip.ts";
import type { Random } from "../core/random.ts";

/** A datagram that left a node. */
export interface Sent {
  readonly peer: number;
  /** Where the table said, when it was flushed. */
  readonly to: Endpoint | null;
  readonly bytes: Uint8Array;
}

/** The packet path of one node. */
export class DataPlaneNode {
  readonly addresses: readonly Ip[];
  readonly endpoint: Endpoint;
  readonly shared: SharedState;
  readonly table: PeerTable;
  readonly tx: TxPath;
  readonly rx: RxPath;
  /** What left, oldest first; a test takes it out. */
  readonly sent: Sent[] = [];
  /** Packets for the interface. */
  readonly delivered: Uint8Array[] = [];

  constructor(
    endpoint: Endpoint,
    addresses: readonly Ip[],
    mtu = 1420,
    shared = new SharedState(),
  ) {
    this.shared = shared;
    this.table = new PeerTable(shared);
    this.endpoint = endpoint;
    this.addresses = addresses;
    this.table.setOwnAddresses(addresses);
    const batch: { peer: number; bytes: Uint8Array; at: number; length: number }[] = [];
    const sink = {
      send: (peer: number, bytes: Uint8Array, at: number, length: number) => {
        batch.push({ peer, bytes, at, length });
      },
      // Reads at the last moment that the contract allows, as a batching socket does.
      flush: () => {
        for (const { peer, bytes, at, length } of batch.splice(0)) {
          const to = this.table.endpoint(peer);
          this.sent.push({ peer, to, bytes: bytes.slice(at, at + length) });
        }
      },
    };
    this.tx = new TxPath(this.shared, nobleAead, sink, mtu);
    this.rx = new RxPath(this.shared, nobleAead);
  }

  /** Reads packets from the interface, in one batch. */
  send(...packets: Uint8Array[]): void {
    this.tx.begin(0);
    for (const packet of packets) {
      const bytes = new Uint8Array(DATA_HEADER + packet.length + DATA_TRAILER).fill(0xee);
      bytes.set(packet, DATA_HEADER);
      this.tx.packet(bytes, DATA_HEADER, packet.length);
    }
    this.tx.end();
  }

  /** Gives a datagram to the receiver; returns its verdict. `bytes` stays as it is. */
  receive(bytes: Uint8Array, from: Endpoint): number {
    const { ip, port } = parseEndpoint(from)!;
    const offset = 3;
    const buffer = new Uint8Array(offset + bytes.length + 5);
    buffer.set(bytes, offset);
    this.rx.begin(0);
    const source = { bytes: mapped(ip), at: 0, port };
    const verdict = this.rx.datagram(buffer, offset, bytes.length, source);
    this.rx.end();
    if (verdict === VERDICT.deliver) {
      const { packetAt, packetBytes } = this.rx;
      this.delivered.push(buffer.slice(packetAt, packetAt + packetBytes));
    }
    return verdict;
  }

  /** Carries everything that was sent to `other`; returns how many datagrams there were. */
  deliverTo(other: DataPlaneNode): number {
    const datagrams = this.sent.splice(0);
    for (const { bytes } of datagrams) other.receive(bytes, this.endpoint);
    return datagrams.length;
  }

  /** Drops counted so far, and what is not zero among them. */
  get drops(): Record<string, number> {
    return this.table.drops();
  }

  /** Frees what the paths hold. */
  close(): void {
    this.tx.close();
    this.rx.close();
  }
}

/** The peer slot that each of two nodes has for the other. */
export interface Slots {
  readonly a: number;
  readonly b: number;
}

/** Makes two nodes peers of each other: endpoints, routes to all addresses, no keys. */
export function introduce(a: DataPlaneNode, b: DataPlaneNode, slots: Slots = { a: 0, b: 0 }): void {
  for (const [node, other, slot] of [[a, b, slots.a], [b, a, slots.b]] as const) {
    node.table.addPeer(slot);
    node.table.setEndpoint(slot, other.endpoint);
    node.table.setRoutes(other.addresses.map((ip) => ({ prefix: parsePrefix(ip)!, value: slot })));
  }
}

/**
 * Installs matching keypairs in keypair `k` of both and seals with them from here on; `a` is the
 * initiator. Call `tx.commands()` to let waiting packets go.
 */
export function installKeys(
  a: DataPlaneNode,
  b: DataPlaneNode,
  random: Random,
  { k = 0, slots = { a: 0, b: 0 }, features = 0 }: {
    k?: number;
    slots?: Slots;
    features?: number;
  } = {},
): void {
  const [there, back] = [random.bytes(32), random.bytes(32)];
  const [slotA, slotB] = [slots.a * 4 + k, slots.b * 4 + k];
  const indexA = (random.uint32() & ~0x3fff | slotA) >>> 0;
  const indexB = (random.uint32() & ~0x3fff | slotB) >>> 0;
  a.table.install({
    peer: slots.a,
    slot: slotA,
    localIndex: indexA,
    remoteIndex: indexB,
    sendKey: there,
    receiveKey: back,
    features,
  });
  b.table.install({
    peer: slots.b,
    slot: slotB,
    localIndex: indexB,
    remoteIndex: indexA,
    sendKey: back,
    receiveKey: there,
    features,
  });
  a.table.promote(slots.a, slotA);
  b.table.promote(slots.b, slotB);
}
