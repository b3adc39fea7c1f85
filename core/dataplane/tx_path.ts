/**
 * The way out, top to bottom: IP packet, route, keypair, seal, datagram.
 *
 * One object of a worker; it owns the counters it writes in the shared state. Packets that have no
 * session yet wait here, a few per peer, until the control thread has negotiated one.
 * @module
 */
import { DROPS } from "../drops.ts";
import { type Aead, TAG } from "./aead.ts";
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
import { packetLength, routeDestination } from "./packet.ts";

/** Bytes of a transport header, which must be free before each packet. */
export const DATA_HEADER = 16;
/** Bytes that must be free behind each packet: padding to 16 and the tag. */
export const DATA_TRAILER = 15 + TAG;

/** Packets of one peer that wait for its session; the oldest goes first when there are more. */
const STAGED_PER_PEER = 64;
/** Packets that wait in all; a scan of the whole mesh must not fill the memory. */
const STAGED_TOTAL = 4096;

/** WireGuard rekeys after 2^60 messages; a counter here is exact below 2^53, so sooner. */
const REKEY_AFTER_MESSAGES = 2 ** 52;
const REJECT_AFTER_MESSAGES = 2 ** 53 - 2 ** 13 - 1;

const DROP_MALFORMED = DROPS.indexOf("malformed");
const DROP_NO_ROUTE = DROPS.indexOf("no-route");
const DROP_NO_SESSION = DROPS.indexOf("no-session");
const DROP_QUEUE_FULL = DROPS.indexOf("queue-full");
const DROP_EXPIRED = DROPS.indexOf("expired-key");

/** Takes sealed datagrams; `bytes[at, at + length)` is only valid during the call or its batch. */
export interface DatagramSink {
  /** Queues a datagram for the peer's present endpoint. */
  send(peer: number, bytes: Uint8Array, at: number, length: number): void;
  /** Sends what is queued, so that the memory of those datagrams may be reused. */
  flush(): void;
}

/** Seals packets for the peers that they are routed to. */
export class TxPath {
  readonly #shared: SharedState;
  readonly #keys: KeyCache;
  readonly #sink: DatagramSink;
  readonly #mtu: number;
  readonly #staged = new Map<number, Uint8Array[]>();
  #stagedTotal = 0;
  #routes: Uint32Array;
  /** Whether a flag was raised that the control thread has not been told of. */
  notify = false;

  /** @param mtu The interface's, in bytes: padding never makes a packet longer than that. */
  constructor(shared: SharedState, aead: Aead, sink: DatagramSink, mtu: number) {
    this.#shared = shared;
    this.#mtu = mtu;
    this.#keys = new KeyCache(shared, aead, KEYPAIR.sendKey);
    this.#sink = sink;
    this.#routes = shared.routeAreas[0];
  }

  /** Must precede the packets of a batch. */
  begin(): void {
    this.#routes = beginRoutes(this.#shared, TX);
  }

  /** Must follow the packets of a batch; sends them. */
  end(): void {
    endRoutes(this.#shared, TX);
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
    if (size === 0) return this.#shared.drop(TX, DROP_MALFORMED);
    const peer = routeDestination(this.#routes, bytes, at);
    if (peer < 0) return this.#shared.drop(TX, DROP_NO_ROUTE);
    if (!this.#staged.has(peer) && this.#seal(peer, bytes, at, size)) return;
    this.#stage(peer, bytes.slice(at, at + size));
  }

  /** Does what the control thread asked for: keepalives, and packets that waited for a session. */
  commands(): void {
    const peers = Atomics.load(this.#shared.atomics, HEADER.peerCount);
    for (let peer = 0; peer < peers && peer < MAX_PEERS; peer++) {
      const word = (peerAt(peer) + PEER.commands) >> 2;
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
    this.#staged.clear();
    this.#stagedTotal = 0;
  }

  /** Seals one packet; false when the peer has no session or nowhere to send. */
  #seal(peer: number, bytes: Uint8Array, at: number, length: number): boolean {
    const { atomics, words, doubles } = this.#shared;
    const peerByte = peerAt(peer);
    const slot = Atomics.load(atomics, (peerByte + PEER.current) >> 2) - 1;
    const key = slot < 0 ? null : this.#keys.get(slot);
    if (key === null || words[(peerByte + PEER.endpointPort) >> 2] === 0) {
      if (raiseFlag(this.#shared, peer, FLAG.sessionWanted)) this.notify = true;
      return false;
    }
    const keypair = keypairAt(slot);
    const counterAt = (keypair + KEYPAIR.sendCounter) >> 3;
    const counter = doubles[counterAt]!;
    if (counter >= REKEY_AFTER_MESSAGES && raiseFlag(this.#shared, peer, FLAG.counterLimit)) {
      this.notify = true;
    }
    if (counter >= REJECT_AFTER_MESSAGES) {
      this.#shared.drop(TX, DROP_EXPIRED);
      return true;
    }
    doubles[counterAt] = counter + 1;

    const padded = Math.max(length, Math.min((length + 15) & ~15, this.#mtu));
    for (let i = at + length; i < at + padded; i++) bytes[i] = 0;
    const start = at - DATA_HEADER;
    writeHeader(bytes, start, words[(keypair + KEYPAIR.remoteIndex) >> 2]!, counter);
    key.seal(bytes, at, padded, counter);
    const total = DATA_HEADER + padded + TAG;
    this.#sink.send(peer, bytes, start, total);

    const packetsAt = (peerByte + PEER.txPackets) >> 3;
    doubles[packetsAt] = doubles[packetsAt]! + 1;
    doubles[packetsAt + 1] = doubles[packetsAt + 1]! + total;
    const flag = length === 0 ? FLAG.keepaliveSent : FLAG.dataSent;
    if (raiseFlag(this.#shared, peer, flag)) this.notify = true;
    return true;
  }

  #keepalive(peer: number): void {
    const bytes = new Uint8Array(DATA_HEADER + DATA_TRAILER);
    this.#seal(peer, bytes, DATA_HEADER, 0);
    this.#sink.flush();
  }

  #stage(peer: number, packet: Uint8Array): void {
    let queue = this.#staged.get(peer);
    if (!queue) this.#staged.set(peer, queue = []);
    if (queue.length >= STAGED_PER_PEER || this.#stagedTotal >= STAGED_TOTAL) {
      this.#shared.drop(TX, DROP_QUEUE_FULL);
      if (queue.shift() === undefined) {
        this.#staged.delete(peer);
        return;
      }
      this.#stagedTotal--;
    }
    queue.push(packet);
    this.#stagedTotal++;
    if (raiseFlag(this.#shared, peer, FLAG.sessionWanted)) this.notify = true;
  }

  #flushStaged(peer: number): void {
    const queue = this.#staged.get(peer);
    if (!queue) return;
    this.#staged.delete(peer);
    this.#stagedTotal -= queue.length;
    for (const [i, packet] of queue.entries()) {
      const bytes = new Uint8Array(DATA_HEADER + packet.length + DATA_TRAILER);
      bytes.set(packet, DATA_HEADER);
      if (this.#seal(peer, bytes, DATA_HEADER, packet.length)) {
        this.#sink.flush();
        continue;
      }
      this.#staged.set(peer, queue.slice(i));
      this.#stagedTotal += queue.length - i;
      return;
    }
  }

  #unstage(peer: number): void {
    const queue = this.#staged.get(peer);
    if (!queue) return;
    this.#staged.delete(peer);
    this.#stagedTotal -= queue.length;
    for (let i = 0; i < queue.length; i++) this.#shared.drop(TX, DROP_NO_SESSION);
  }
}

/** Writes a transport header: type 4, receiver index, counter, little-endian. */
function writeHeader(bytes: Uint8Array, at: number, receiver: number, counter: number): void {
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
