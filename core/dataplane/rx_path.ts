/**
 * The way in, top to bottom: datagram, keypair, replay window, open, source check, IP packet.
 *
 * One object of a worker. Handshake messages leave at their first byte, for the control thread.
 * @module
 */
import { DROPS } from "../drops.ts";
import { FILTER_DROPS, PASS } from "../filter/filter.ts";
import { replayAccept, replayCheck } from "../wireguard/replay_window.ts";
import { type Aead, TAG } from "./aead.ts";
import { FEATURE } from "./features.ts";
import { FilterGate } from "./filter_gate.ts";
import { KeyCache } from "./key_cache.ts";
import {
  beginRoutes,
  endRoutes,
  FLAG,
  HEADER,
  KEYPAIR,
  KEYPAIR_SLOT_MASK,
  keypairAt,
  PEER,
  peerAt,
  raiseFlag,
  RX,
  type SharedState,
} from "./layout.ts";
import { clampMss } from "./mss.ts";
import { IPV4, IPV6, isPathMessage, packetLength, routeSource, word } from "./packet.ts";
import { DATA_HEADER } from "./tx_path.ts";

/** What became of a datagram. */
export const VERDICT = {
  /** Nothing is left to do: a keepalive, or it was dropped and counted. */
  done: 0,
  /** An IP packet lies at `packetAt`, `packetBytes` long. */
  deliver: 1,
  /** A handshake message, cookie reply or STUN message: the control thread's. */
  control: 2,
  /** Transport data for an index that is not ours: the control thread may start a handshake. */
  unknown: 3,
  /** A message about paths lies at `packetAt`, `packetBytes` long, from `peer`. */
  path: 4,
} as const;

/** Set in the version nibble of a packet without checksums. */
const PIECE = 0x80;
/** Bytes of the shortest STUN message (RFC 8489 section 5). */
const STUN_HEADER = 20;
/** Above this a counter is not exact; no honest peer comes near. */
const MAX_COUNTER = 2 ** 53 - 2 ** 13 - 1;

const DROP_MALFORMED = DROPS.indexOf("malformed");
const DROP_BAD_TAG = DROPS.indexOf("bad-tag");
const DROP_REPLAY = DROPS.indexOf("replay");
const DROP_SOURCE = DROPS.indexOf("source-mismatch");
const DROP_NO_ROUTE = DROPS.indexOf("no-route");
const DROP_UNKNOWN = DROPS.indexOf("unknown-peer");

/** What the filter's verdicts are counted as; see {@link FILTER_DROPS}. */
const FILTER_REASONS = [-1, ...FILTER_DROPS.map((drop) => DROPS.indexOf(drop))];

/** Where a datagram came from: 16 address bytes (IPv4 mapped) at `at`, and the port. */
export interface Source {
  readonly bytes: Uint8Array;
  at: number;
  port: number;
}

/** Opens datagrams and checks what they carry. */
export class RxPath {
  readonly #worker: number;
  readonly #shared: SharedState;
  readonly #keys: KeyCache;
  readonly #filter: FilterGate;
  #routes: Uint32Array;
  /** Set by {@link datagram} with the verdict `deliver`. */
  packetAt = 0;
  packetBytes = 0;
  /** Set with the verdict `path`. */
  peer = 0;
  /** Whether that packet came without checksums, which only own nodes agree on. */
  isPiece = false;
  /** Whether a flag was raised that the control thread has not been told of. */
  notify = false;

  /** @param worker Its number, `RX` or one of those behind. */
  constructor(shared: SharedState, aead: Aead, worker: number = RX) {
    this.#worker = worker;
    this.#shared = shared;
    this.#keys = new KeyCache(shared, aead, KEYPAIR.receiveKey);
    this.#filter = new FilterGate(shared, worker);
    this.#routes = shared.routeAreas[0];
  }

  /**
   * Must precede the datagrams of a batch.
   * @param now Whole seconds of a clock that all workers share.
   */
  begin(now: number): void {
    this.#routes = beginRoutes(this.#shared, this.#worker);
    this.#filter.begin(this.#routes, now);
  }

  /** Must follow the datagrams of a batch. */
  end(): void {
    endRoutes(this.#shared, this.#worker);
  }

  /** Opens the datagram at `bytes[at, at + length)` in place and answers a {@link VERDICT}. */
  datagram(bytes: Uint8Array, at: number, length: number, source: Source): number {
    if (length >= STUN_HEADER && isStunCookie(bytes, at + 4)) return VERDICT.control;
    if (length < DATA_HEADER + TAG || bytes[at + 1] || bytes[at + 2] || bytes[at + 3]) {
      return this.#drop(DROP_MALFORMED);
    }
    const type = bytes[at]!;
    if (type !== 4) return type >= 1 && type <= 3 ? VERDICT.control : this.#drop(DROP_MALFORMED);

    const index = littleEndian(bytes, at + 4);
    const slot = index & KEYPAIR_SLOT_MASK;
    const keypair = keypairAt(slot);
    const { words, atomics } = this.#shared;
    const isOurs = atomics[(keypair + KEYPAIR.localIndex) >> 2] === index;
    const key = isOurs ? this.#keys.get(slot) : null;
    if (key === null) {
      this.#drop(DROP_UNKNOWN);
      return VERDICT.unknown;
    }
    const counter = (littleEndian(bytes, at + 8) >>> 0) +
      (littleEndian(bytes, at + 12) >>> 0) * 2 ** 32;
    if (counter > MAX_COUNTER || !this.#isFresh(keypair, counter)) return this.#drop(DROP_REPLAY);
    const plain = at + DATA_HEADER;
    const sealed = length - DATA_HEADER;
    if (!key.open(bytes, plain, sealed, counter)) return this.#drop(DROP_BAD_TAG);
    if (!this.#accept(keypair, counter)) return this.#drop(DROP_REPLAY);

    const peer = words[(keypair + KEYPAIR.peer) >> 2]!;
    const usedWord = (keypair + KEYPAIR.used) >> 2;
    if (Atomics.load(atomics, usedWord) === 0) {
      Atomics.store(atomics, usedWord, 1);
      if (raiseFlag(this.#shared, peer, FLAG.keypairUsed)) this.notify = true;
    }
    this.#shared.count(this.#worker, peer, length);
    const features = words[(keypair + KEYPAIR.features) >> 2]!;
    if ((features & FEATURE.paths) === 0) this.#roam(peer, source);
    else if (sealed > TAG && isPathMessage(bytes[plain]!)) {
      if (raiseFlag(this.#shared, peer, FLAG.keepaliveReceived)) this.notify = true;
      this.peer = peer;
      this.packetAt = plain;
      this.packetBytes = sealed - TAG;
      return VERDICT.path;
    }
    this.isPiece = (features & FEATURE.pieces) !== 0 && (bytes[plain]! & PIECE) !== 0 &&
      sealed > TAG;
    if (this.isPiece) bytes[plain] = bytes[plain]! & ~PIECE;
    return this.#judge(peer, bytes, plain, sealed - TAG);
  }

  /** Frees ciphers whose keypair is gone. */
  sweep(): void {
    this.#keys.sweep();
  }

  /** Frees every cipher. */
  close(): void {
    this.#keys.clear();
  }

  /** Checks that an authenticated packet is well-formed, from its peer, and for this node or
   * a network behind it. */
  #judge(peer: number, bytes: Uint8Array, at: number, available: number): number {
    if (available === 0) {
      if (raiseFlag(this.#shared, peer, FLAG.keepaliveReceived)) this.notify = true;
      return VERDICT.done;
    }
    if (raiseFlag(this.#shared, peer, FLAG.dataReceived)) this.notify = true;
    const length = packetLength(bytes, at, available);
    if (length === 0) return this.#drop(DROP_MALFORMED);
    if (routeSource(this.#routes, bytes, at) !== peer) return this.#drop(DROP_SOURCE);
    // A kernel with forwarding on would otherwise carry a peer's packets into this node's LAN.
    if (!this.#isOwn(bytes, at) && !this.#forwards()) return this.#drop(DROP_NO_ROUTE);
    const verdict = this.#filter.inbound(peer, bytes, at, length);
    if (verdict !== PASS) {
      this.#shared.countFiltered(this.#worker, peer, this.#filter.protocol);
      return this.#drop(FILTER_REASONS[verdict]!);
    }
    const mtu = this.#shared.words[(peerAt(peer) + PEER.mtu) >> 2]!;
    if (mtu !== 0) clampMss(bytes, at, length, mtu, !this.isPiece);
    this.packetAt = at;
    this.packetBytes = length;
    return VERDICT.deliver;
  }

  #isOwn(bytes: Uint8Array, at: number): boolean {
    const { atomics: own } = this.#shared;
    if (bytes[at]! >> 4 === 4) return word(bytes, at + IPV4.destination) === own[HEADER.ownIp4];
    for (let i = 0; i < 4; i++) {
      if (word(bytes, at + IPV6.destination + 4 * i) !== own[HEADER.ownIp6 + i]) return false;
    }
    return true;
  }

  /** Whether this node leads to other networks; to which, and whom, is the filter's to say. */
  #forwards(): boolean {
    return Atomics.load(this.#shared.atomics, HEADER.forwards) === 1 && this.#filter.hasRules;
  }

  /** Whether a counter was not received yet, before its message is opened. */
  #isFresh(keypair: number, counter: number): boolean {
    this.#lock(keypair);
    const isFresh = replayCheck(this.#shared.words, (keypair + KEYPAIR.replay) >> 2, counter);
    this.#unlock(keypair);
    return isFresh;
  }

  /** Notes an authenticated counter; false when another worker had it meanwhile. */
  #accept(keypair: number, counter: number): boolean {
    const { words, doubles } = this.#shared;
    const receivedAt = (keypair + KEYPAIR.received) >> 3;
    this.#lock(keypair);
    const isNew = replayAccept(words, (keypair + KEYPAIR.replay) >> 2, counter);
    if (isNew) doubles[receivedAt] = doubles[receivedAt]! + 1;
    this.#unlock(keypair);
    return isNew;
  }

  /** Datagrams of one peer come to one worker, except while its address changes. */
  #lock(keypair: number): void {
    const word = (keypair + KEYPAIR.receiveLock) >> 2;
    while (Atomics.compareExchange(this.#shared.atomics, word, 0, 1) !== 0);
  }

  #unlock(keypair: number): void {
    Atomics.store(this.#shared.atomics, (keypair + KEYPAIR.receiveLock) >> 2, 0);
  }

  /** Follows a peer to the address that its authenticated datagrams come from. */
  #roam(peer: number, source: Source): void {
    const at = peerAt(peer);
    const { bytes, words } = this.#shared;
    let same = words[(at + PEER.endpointPort) >> 2] === source.port;
    for (let i = 0; same && i < 16; i++) {
      same = bytes[at + PEER.endpointIp + i] === source.bytes[source.at + i];
    }
    if (same) return;
    writeEndpoint(this.#shared, peer, source);
    if (raiseFlag(this.#shared, peer, FLAG.roamed)) this.notify = true;
  }

  #drop(reason: number): number {
    this.#shared.drop(this.#worker, reason);
    return VERDICT.done;
  }
}

/** Sets where a peer's datagrams go; any thread. */
export function writeEndpoint(shared: SharedState, peer: number, source: Source): void {
  write(shared, peer, source, PEER.endpointIp, PEER.endpointPort);
}

/** Sets where else a peer's datagrams go; port 0 for nowhere. */
export function writeStandby(shared: SharedState, peer: number, source: Source): void {
  write(shared, peer, source, PEER.standbyIp, PEER.standbyPort);
}

function write(shared: SharedState, peer: number, source: Source, ip: number, port: number): void {
  const at = peerAt(peer);
  const lock = (at + PEER.endpointLock) >> 2;
  let sequence = Atomics.load(shared.atomics, lock);
  while (
    (sequence & 1) !== 0 ||
    Atomics.compareExchange(shared.atomics, lock, sequence, sequence + 1) !== sequence
  ) sequence = Atomics.load(shared.atomics, lock);
  for (let i = 0; i < 16; i++) shared.bytes[at + ip + i] = source.bytes[source.at + i]!;
  shared.words[(at + port) >> 2] = source.port;
  Atomics.store(shared.atomics, lock, sequence + 2);
}

/** Copies where a peer's datagrams go into `into[0, 16)`; returns the port, 0 for nowhere. */
export function readEndpoint(shared: SharedState, peer: number, into: Uint8Array): number {
  return read(shared, peer, into, PEER.endpointIp, PEER.endpointPort);
}

/** Like {@link readEndpoint}, for the second endpoint. */
export function readStandby(shared: SharedState, peer: number, into: Uint8Array): number {
  // Rarely set, and then for a moment: most calls end here.
  if (shared.words[(peerAt(peer) + PEER.standbyPort) >> 2] === 0) return 0;
  return read(shared, peer, into, PEER.standbyIp, PEER.standbyPort);
}

function read(
  shared: SharedState,
  peer: number,
  into: Uint8Array,
  ip: number,
  port: number,
): number {
  const at = peerAt(peer);
  const lock = (at + PEER.endpointLock) >> 2;
  for (;;) {
    const sequence = Atomics.load(shared.atomics, lock);
    for (let i = 0; i < 16; i++) into[i] = shared.bytes[at + ip + i]!;
    const found = shared.words[(at + port) >> 2]!;
    if ((sequence & 1) === 0 && Atomics.load(shared.atomics, lock) === sequence) return found;
  }
}

/** Whether STUN's magic cookie is there; a WireGuard message has it once in 2^32 times, by index. */
function isStunCookie(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x21 && bytes[at + 1] === 0x12 && bytes[at + 2] === 0xa4 &&
    bytes[at + 3] === 0x42 && bytes[at - 4] !== 4;
}

/** Reads a little-endian word, signed: unsigned ones above 2^31 would be boxed on the heap. */
function littleEndian(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
