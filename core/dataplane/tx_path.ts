/**
 * The way out, top to bottom: IP packet, route, keypair, segments, seal, datagram.
 *
 * One object of a worker; it owns the counters it writes in the shared state. Packets that have no
 * session yet wait, a few per peer, until the control thread has negotiated one.
 * @module
 */
import { DROPS } from "../drops.ts";
import {
  GSO_NONE,
  GSO_UDP,
  type Kernel,
  NEEDS_CHECKSUM,
  VNET,
  VNET_BYTES,
} from "../kernel/kernel.ts";
import { type Aead, type AeadKey, TAG } from "./aead.ts";
import { FEATURE } from "./features.ts";
import { FilterGate } from "./filter_gate.ts";
import { KeyCache } from "./key_cache.ts";
import {
  beginRoutes,
  COMMAND,
  endRoutes,
  FLAG,
  HEADER,
  KEYPAIR,
  keypairAt,
  MAX_PEERS,
  PEER,
  peerAt,
  raiseFlag,
  type SharedState,
  TX,
} from "./layout.ts";
import { clampMss } from "./mss.ts";
import { mayNotFragment, packetLength, padded, routeDestination } from "./packet.ts";
import { Staging } from "./staging.ts";

/** Bytes of a transport header, which must be free before each packet. */
export const DATA_HEADER = 16;
/** Bytes that must be free behind each packet: padding to 16 and the tag. */
export const DATA_TRAILER = 15 + TAG;

/**
 * WireGuard rekeys after 2^60 messages; counters here are 32 bits, which workers can take from
 * atomically, so sooner. What is behind the limit is more than workers could take at once.
 */
const REKEY_AFTER_MESSAGES = 2 ** 31;
export const REJECT_AFTER_MESSAGES = 2 ** 32 - 2 ** 16;

const DROP_MALFORMED = DROPS.indexOf("malformed");
const DROP_NO_ROUTE = DROPS.indexOf("no-route");
const DROP_NO_SESSION = DROPS.indexOf("no-session");
const DROP_QUEUE_FULL = DROPS.indexOf("queue-full");
const DROP_EXPIRED = DROPS.indexOf("expired-key");
const DROP_TOO_BIG = DROPS.indexOf("too-big");
/** RFC 8200 section 5. */
const LEAST_MTU6 = 1280;

/** Takes sealed datagrams; `bytes[at, at + length)` is only valid during the call or its batch. */
export interface DatagramSink {
  /** Queues a datagram for the peer's present endpoint. */
  send(peer: number, bytes: Uint8Array, at: number, length: number): void;
  /** Sends what is queued, so that the memory of those datagrams may be reused. */
  flush(): void;
}

/** What packets from a TUN with offloads are worked on with and in. */
export interface KernelMemory {
  readonly kernel: Kernel;
  /** All of the kernel's memory. */
  readonly bytes: Uint8Array;
}

/** Seals packets for the peers that they are routed to. */
export class TxPath {
  readonly #worker: number;
  readonly #shared: SharedState;
  readonly #keys: KeyCache;
  readonly #filter: FilterGate;
  readonly #sink: DatagramSink;
  readonly #mtu: number;
  readonly #memory: KernelMemory | null;
  readonly #staging = new Staging();
  #routes: Uint32Array;
  /** The session that {@link #openSession} found. */
  #key: AeadKey | null = null;
  #keypair = 0;
  /** Whether a flag was raised that the control thread has not been told of. */
  notify = false;
  /** Tells the sender of the packet at `bytes[at, at + length)` that only `mtu` bytes pass. */
  onTooBig: (bytes: Uint8Array, at: number, length: number, mtu: number) => void = () => {};

  /**
   * @param mtu The interface's, in bytes.
   * @param memory For {@link fromTun}; the other methods do without.
   * @param worker Its number, `TX` or one of those behind.
   */
  constructor(
    shared: SharedState,
    aead: Aead,
    sink: DatagramSink,
    mtu: number,
    memory: KernelMemory | null = null,
    worker: number = TX,
  ) {
    this.#worker = worker;
    this.#shared = shared;
    this.#mtu = mtu;
    this.#memory = memory;
    this.#keys = new KeyCache(shared, aead, KEYPAIR.sendKey);
    this.#filter = new FilterGate(shared, worker);
    this.#sink = sink;
    this.#routes = shared.routeAreas[0];
  }

  /**
   * Must precede the packets of a batch.
   * @param now Whole seconds of a clock that all workers share.
   */
  begin(now: number): void {
    this.#routes = beginRoutes(this.#shared, this.#worker);
    this.#filter.begin(this.#routes, now);
  }

  /** Must follow the packets of a batch; sends them. */
  end(): void {
    endRoutes(this.#shared, this.#worker);
    this.#sink.flush();
  }

  /**
   * Seals the packet at `bytes[at, at + length)` in place and hands it to the sink, or keeps a copy
   * until there is a session.
   *
   * `DATA_HEADER` bytes before and `DATA_TRAILER` behind the packet are overwritten.
   */
  packet(bytes: Uint8Array, at: number, length: number): void {
    const size = packetLength(bytes, at, length);
    if (size === 0) return this.#drop(DROP_MALFORMED);
    const peer = routeDestination(this.#routes, bytes, at);
    if (peer < 0) return this.#drop(DROP_NO_ROUTE);
    this.#filter.outbound(peer, bytes, at, size);
    if (!this.#fits(peer, bytes, at, size, true)) return;
    if (this.#openSession(peer)) this.#seal(peer, bytes, at, size, this.#mtuOf(peer));
    else this.#stage(peer, bytes.slice(at, at + size));
  }

  /**
   * Seals what a TUN with offloads handed over: `length` bytes of vnet header and packet, the
   * packet being at `cursor + DATA_HEADER` in the kernel's memory, which is free up to `limit`.
   *
   * Returns where the memory that the batch uses now ends, for the next packet.
   */
  fromTun(cursor: number, length: number, limit: number): number {
    const { kernel, bytes } = this.#memory!;
    const at = cursor + DATA_HEADER;
    const vnet = at - VNET_BYTES;
    const size = packetLength(bytes, at, length - VNET_BYTES);
    if (size === 0) return this.#refuse(cursor, DROP_MALFORMED);
    const peer = routeDestination(this.#routes, bytes, at);
    if (peer < 0) return this.#refuse(cursor, DROP_NO_ROUTE);
    this.#filter.outbound(peer, bytes, at, size);
    const hasSession = this.#openSession(peer);
    const isPiece = hasSession && this.#hasFeature(FEATURE.pieces);

    if (bytes[vnet + VNET.gsoType] !== GSO_NONE) {
      const segment = half(bytes, vnet + VNET.gsoSize);
      return this.#cut(peer, cursor, size, segment, limit, hasSession, isPiece);
    }
    const isComplete = (bytes[vnet]! & NEEDS_CHECKSUM) === 0;
    if (!this.#fits(peer, bytes, at, size, isComplete)) return cursor;
    if ((bytes[vnet]! & NEEDS_CHECKSUM) !== 0 && !(isPiece && kernel.piece(at, size) !== 0)) {
      const start = half(bytes, vnet + VNET.checksumStart);
      const offset = half(bytes, vnet + VNET.checksumOffset);
      if (kernel.finishChecksum(at, size, start, offset) === 0) {
        return this.#refuse(cursor, DROP_MALFORMED);
      }
    }
    if (hasSession) return cursor + this.#seal(peer, bytes, at, size, this.#mtuOf(peer));
    this.#stage(peer, bytes.slice(at, at + size));
    return cursor;
  }

  /** Does what the control thread asked for: keepalives, and packets that waited for a session. */
  commands(): void {
    const peers = Atomics.load(this.#shared.atomics, HEADER.peerCount);
    for (let peer = 0; peer < peers && peer < MAX_PEERS; peer++) {
      const word = ((peerAt(peer) + PEER.commands) >> 2) + this.#worker - TX;
      if (Atomics.load(this.#shared.atomics, word) === 0) continue;
      const commands = Atomics.exchange(this.#shared.atomics, word, 0);
      if (commands & COMMAND.forget) this.#unstage(peer);
      if (commands & COMMAND.keypairChanged) {
        this.#keys.sweep();
        this.#flushStaged(peer);
      }
      if (commands & COMMAND.sendKeepalive) this.#keepalive(peer);
    }
    this.#sink.flush();
  }

  /** Frees ciphers and forgets packets that wait. */
  close(): void {
    this.#keys.clear();
    this.#staging.clear();
  }

  /** Cuts the super-packet behind `cursor` into `size`-byte pieces of payload, and seals those. */
  #cut(
    peer: number,
    cursor: number,
    length: number,
    size: number,
    limit: number,
    hasSession: boolean,
    isPiece: boolean,
  ): number {
    const { kernel, bytes } = this.#memory!;
    const source = cursor + DATA_HEADER;
    const header = kernel.superHeader(source, length);
    if (header === 0 || size === 0) return this.#refuse(cursor, DROP_MALFORMED);
    const most = this.#limit(peer, bytes, source);
    if (header + size > most) {
      // A stream may be cut finer than its sender asked; datagrams have to stay whole.
      if (bytes[source - VNET_BYTES + VNET.gsoType] === GSO_UDP) {
        this.onTooBig(bytes, source, length, most);
        return this.#refuse(cursor, DROP_TOO_BIG);
      }
      size = most - header;
    }
    const payload = length - header;
    const mtu = this.#mtuOf(peer);
    const stride = DATA_HEADER + padded(header + size, mtu) + TAG;
    const out = (source + length + 63) & ~63;
    const room = Math.floor((limit - out - TAG) / stride);
    const total = Math.ceil(payload / size);
    for (let first = 0; first < total; first += room) {
      const count = Math.min(room, total - first);
      if (first > 0) this.#sink.flush();
      const pieces = isPiece ? 1 : 0;
      kernel.segment(source, length, header, size, out + DATA_HEADER, stride, first, count, pieces);
      for (let i = 0; i < count; i++) {
        const at = out + i * stride + DATA_HEADER;
        const end = header + Math.min(size, payload - (first + i) * size);
        if (hasSession) this.#seal(peer, bytes, at, end, mtu);
        else this.#stage(peer, bytes.slice(at, at + end));
      }
    }
    return hasSession ? out + Math.min(total, room) * stride : cursor;
  }

  /** The largest packet that may go to a peer now. */
  #limit(peer: number, bytes: Uint8Array, at: number): number {
    const mtu = this.#mtuOf(peer);
    // No IPv6 sender goes below its least MTU: the datagram is fragmented on its way instead.
    return bytes[at]! >> 4 === 6 ? Math.max(mtu, LEAST_MTU6) : mtu;
  }

  /** The longest packet that the path to a peer carries, as far as it matters here. */
  #mtuOf(peer: number): number {
    return this.#shared.words[(peerAt(peer) + PEER.mtu) >> 2]! || this.#mtu;
  }

  /**
   * Whether a packet is short enough for the path to its peer. One that is too long is answered as
   * a router would; one that opens a TCP connection is told what fits.
   */
  #fits(peer: number, bytes: Uint8Array, at: number, size: number, isComplete: boolean): boolean {
    const limit = this.#limit(peer, bytes, at);
    if (limit === this.#mtu) return true;
    clampMss(bytes, at, size, limit, isComplete);
    if (size <= limit || !mayNotFragment(bytes, at)) return true;
    this.onTooBig(bytes, at, size, limit);
    this.#drop(DROP_TOO_BIG);
    return false;
  }

  /** Finds the session that packets of `peer` may be sealed with now. */
  #openSession(peer: number): boolean {
    if (this.#staging.has(peer)) return false;
    const { atomics, words } = this.#shared;
    const at = peerAt(peer);
    const slot = Atomics.load(atomics, (at + PEER.current) >> 2) - 1;
    this.#key = slot < 0 ? null : this.#keys.get(slot);
    if (this.#key === null || words[(at + PEER.endpointPort) >> 2] === 0) {
      if (raiseFlag(this.#shared, peer, FLAG.sessionWanted)) this.notify = true;
      return false;
    }
    this.#keypair = keypairAt(slot);
    return true;
  }

  #hasFeature(feature: number): boolean {
    return (this.#shared.words[(this.#keypair + KEYPAIR.features) >> 2]! & feature) !== 0;
  }

  /**
   * Seals one packet with the open session; returns the length of the datagram.
   * @param mtu Of the path: padding makes no packet longer than that.
   */
  #seal(peer: number, bytes: Uint8Array, at: number, length: number, mtu: number): number {
    const { atomics } = this.#shared;
    const counterWord = (this.#keypair + KEYPAIR.sendCounter) >> 2;
    if (Atomics.load(atomics, counterWord) >>> 0 >= REJECT_AFTER_MESSAGES) {
      this.#drop(DROP_EXPIRED);
      return 0;
    }
    const counter = Atomics.add(atomics, counterWord, 1) >>> 0;
    if (counter >= REKEY_AFTER_MESSAGES && raiseFlag(this.#shared, peer, FLAG.counterLimit)) {
      this.notify = true;
    }

    const size = padded(length, mtu);
    for (let i = at + length; i < at + size; i++) bytes[i] = 0;
    const start = at - DATA_HEADER;
    writeHeader(bytes, start, atomics[(this.#keypair + KEYPAIR.remoteIndex) >> 2]!, counter);
    this.#key!.seal(bytes, at, size, counter);
    const total = DATA_HEADER + size + TAG;
    this.#sink.send(peer, bytes, start, total);

    this.#shared.count(this.#worker, peer, total);
    const flag = length === 0 ? FLAG.keepaliveSent : FLAG.dataSent;
    if (raiseFlag(this.#shared, peer, flag)) this.notify = true;
    return total;
  }

  #keepalive(peer: number): void {
    if (!this.#openSession(peer)) return;
    const bytes = new Uint8Array(DATA_HEADER + DATA_TRAILER);
    this.#seal(peer, bytes, DATA_HEADER, 0, this.#mtu);
    this.#sink.flush();
  }

  #stage(peer: number, packet: Uint8Array): void {
    const dropped = this.#staging.add(peer, packet);
    for (let i = 0; i < dropped; i++) this.#drop(DROP_QUEUE_FULL);
    if (raiseFlag(this.#shared, peer, FLAG.sessionWanted)) this.notify = true;
  }

  #flushStaged(peer: number): void {
    const packets = this.#staging.take(peer);
    for (const [i, packet] of packets.entries()) {
      if (!this.#openSession(peer)) {
        for (const rest of packets.slice(i)) this.#staging.add(peer, rest);
        return;
      }
      const bytes = new Uint8Array(DATA_HEADER + packet.length + DATA_TRAILER);
      bytes.set(packet, DATA_HEADER);
      this.#seal(peer, bytes, DATA_HEADER, packet.length, this.#mtuOf(peer));
      this.#sink.flush();
    }
  }

  #unstage(peer: number): void {
    const { length } = this.#staging.take(peer);
    for (let i = 0; i < length; i++) this.#drop(DROP_NO_SESSION);
  }

  #drop(reason: number): void {
    this.#shared.drop(this.#worker, reason);
  }

  /** Drops the packet behind `cursor`, whose memory is free again. */
  #refuse(cursor: number, reason: number): number {
    this.#drop(reason);
    return cursor;
  }
}

/** A 16-bit number in the machine's byte order, which is that of the vnet header. */
function half(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

/** Writes a transport header: type 4, receiver index, 64-bit counter, little-endian. */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  receiver: number,
  counter: number,
): void {
  bytes[at] = 4;
  bytes[at + 1] = 0;
  bytes[at + 2] = 0;
  bytes[at + 3] = 0;
  writeWord(bytes, at + 4, receiver);
  writeWord(bytes, at + 8, counter >>> 0);
  writeWord(bytes, at + 12, Math.floor(counter / 2 ** 32));
}

function writeWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 0xff;
  bytes[at + 1] = (value >>> 8) & 0xff;
  bytes[at + 2] = (value >>> 16) & 0xff;
  bytes[at + 3] = value >>> 24;
}
