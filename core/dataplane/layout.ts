/**
 * The memory that the control thread and the packet workers share, declared in one place.
 *
 * Every field has one writer, named here; flags are the exception and change by atomic operations.
 *
 * ```
 * header    32 words: 0 peers high-water mark, 1 workers per direction, 2 route generation (its
 *           parity is the area in use), 5 handshake queue depth, 6 stop request, 7 own IPv4,
 *           8..11 own IPv6, 12 whether packets for others are passed on, 16..31 what each worker reads: generation + 1, 0 for nothing
 * drops     a row per worker, one count per reason (f64)
 * counters  a row per worker, packets and bytes of each peer (f64)
 * peers     PEER bytes each            keypairs  KEYPAIR bytes each
 * routes    two areas of ROUTE_WORDS; one is read while the other is built
 * filter    two areas of FILTER_WORDS beside them, of the same generation (`filter/compile.ts`)
 * hits      for each area a row per worker: how many packets each rule decided of (f64)
 * filtered  a row per rx worker, packets of each peer and protocol that the filter dropped (f64)
 * flows     what packets belong to (`filter/flow_table.ts`); all workers
 * ```
 * @module
 */
import { DROPS } from "../drops.ts";
import { DEFAULT_FLOWS, flowTableWords } from "../filter/flow_table.ts";
import { routeTableWords } from "../route/lpm.ts";
import { REPLAY_WORDS } from "../wireguard/replay_window.ts";

/** Most peers of one node; the local index format has room for no more. */
export const MAX_PEERS = 4096;
/** Most prefixes in the route table: two addresses for each peer, and 22 networks behind it. */
export const MAX_ROUTES = 100_000;
/** Most rules of the packet filter at once, and words of their table: 4 MiB. */
export const MAX_RULES = 4096;
export const FILTER_WORDS = 1 << 20;
/** Keypairs of one peer: previous, current, next and one being negotiated. */
export const KEYPAIRS_PER_PEER = 4;
/** Low bits of a local index that name its keypair slot. */
export const KEYPAIR_SLOT_MASK = MAX_PEERS * KEYPAIRS_PER_PEER - 1;

/** What packets that the filter drops are counted as; "other" is also what does not parse. */
export const FILTERED_PROTOCOLS = ["tcp", "udp", "icmp", "other"] as const;

/** Word offsets in the header. */
export const HEADER = {
  peerCount: 0,
  /** How many workers seal, and as many open; set once, before they start. */
  workers: 1,
  routeGeneration: 2,
  handshakeQueue: 5,
  stop: 6,
  ownIp4: 7,
  ownIp6: 8,
  /** 1 when the filter may let packets pass that are for networks behind this node. */
  forwards: 12,
  readers: 16,
} as const;

/** Most workers of one direction. */
export const MAX_WORKERS = 8;
/** Numbers of the first worker that seals and the first that opens; others follow each. */
export const TX = 0;
export const RX = MAX_WORKERS;
const WORKERS = 2 * MAX_WORKERS;

/** Bits of a peer's flags: set by workers, cleared by the control thread. */
export const FLAG = {
  dataSent: 1,
  dataReceived: 2,
  keepaliveReceived: 4,
  keepaliveSent: 8,
  sessionWanted: 16,
  roamed: 32,
  counterLimit: 64,
  keypairUsed: 128,
} as const;

/** Bits of a peer's commands: set by the control thread, cleared by the tx worker they are for. */
export const COMMAND = { sendKeepalive: 1, keypairChanged: 2, forget: 4 } as const;

/** Byte offsets in a peer. */
export const PEER = {
  flags: 0,
  /** Keypair slot + 1 that seals, 0 for none; control thread. */
  current: 4,
  /** Odd while the endpoint changes; whoever changes it. */
  endpointLock: 8,
  /** 0 for none. */
  endpointPort: 12,
  /** 16 bytes, IPv4 mapped into IPv6. */
  endpointIp: 16,
  /** One word for each tx worker. */
  commands: 32,
  /** A second endpoint that every datagram goes to as well; port 0 for none. Under the same lock. */
  standbyPort: 64,
  standbyIp: 72,
  /** Largest packet to seal for the peer, 0 for the interface's MTU; control thread. */
  mtu: 68,
  size: 56 + 4 * MAX_WORKERS,
} as const;

/** Byte offsets in a keypair. The control thread writes all but the last five. */
export const KEYPAIR = {
  /** 0 empty, else in use; written last when installing, first when forgetting. */
  state: 0,
  /** Grows with each change, so that workers know when a cached cipher is stale. */
  generation: 4,
  localIndex: 8,
  remoteIndex: 12,
  peer: 16,
  /** What both ends agreed on (`features.ts`). */
  features: 20,
  sendKey: 24,
  receiveKey: 56,
  /** 1 once an authenticated message came on it; rx. */
  used: 88,
  /** Next counter to seal with; tx workers take from it by atomic addition. */
  sendCounter: 92,
  /** 1 while an rx worker has the two fields behind it. */
  receiveLock: 96,
  /** Authenticated messages, f64; rx. */
  received: 104,
  /** Replay window (`wireguard/replay_window.ts`); rx. */
  replay: 112,
  size: 112 + 8 * Math.ceil(REPLAY_WORDS / 2),
} as const;

const HEADER_BYTES = 128;
const DROP_BYTES = 8 * WORKERS * DROPS.length;
const COUNTERS_AT = HEADER_BYTES + DROP_BYTES;
const COUNTERS_BYTES = 16 * WORKERS * MAX_PEERS;
const PEERS_AT = COUNTERS_AT + COUNTERS_BYTES;
const KEYPAIRS_AT = PEERS_AT + MAX_PEERS * PEER.size;
const ROUTES_AT = KEYPAIRS_AT + MAX_PEERS * KEYPAIRS_PER_PEER * KEYPAIR.size;
const ROUTE_WORDS = routeTableWords(MAX_ROUTES);
const FILTER_AT = align(ROUTES_AT + 2 * 4 * ROUTE_WORDS);
const HITS_AT = FILTER_AT + 2 * 4 * FILTER_WORDS;
const FILTERED_AT = HITS_AT + 2 * WORKERS * MAX_RULES * 8;
const FLOWS_AT = FILTERED_AT + 8 * MAX_WORKERS * MAX_PEERS * FILTERED_PROTOCOLS.length;
const FLOW_WORDS = flowTableWords(DEFAULT_FLOWS);
/** Bytes of the shared state. */
export const SHARED_BYTES = align(FLOWS_AT + 4 * FLOW_WORDS);

/** Views on the shared memory. Threads make their own views on the same buffer. */
export class SharedState {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly atomics: Int32Array;
  readonly doubles: Float64Array;
  readonly routeAreas: readonly [Uint32Array, Uint32Array];
  readonly filterAreas: readonly [Int32Array, Int32Array];
  readonly flows: Int32Array;

  /** @param buffer What another thread's `buffer` holds; longer is fine, absent makes fresh memory. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(SHARED_BYTES)) {
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.atomics = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.routeAreas = [
      new Uint32Array(buffer, ROUTES_AT, ROUTE_WORDS),
      new Uint32Array(buffer, ROUTES_AT + 4 * ROUTE_WORDS, ROUTE_WORDS),
    ];
    this.filterAreas = [
      new Int32Array(buffer, FILTER_AT, FILTER_WORDS),
      new Int32Array(buffer, FILTER_AT + 4 * FILTER_WORDS, FILTER_WORDS),
    ];
    this.flows = new Int32Array(buffer, FLOWS_AT, FLOW_WORDS);
  }

  /** What a worker counts of the rules in an area, 0 or 1. */
  ruleHits(area: number, worker: number): Float64Array {
    const at = HITS_AT + (area * WORKERS + worker) * MAX_RULES * 8;
    return new Float64Array(this.buffer, at, MAX_RULES);
  }

  /** Sets what all workers count of the first rules in an area to zero; none may be using it. */
  clearRuleHits(area: number, rules: number): void {
    for (let worker = 0; worker < WORKERS; worker++) this.ruleHits(area, worker).fill(0, 0, rules);
  }

  /** What all workers together counted of a rule in an area. */
  ruleHitCount(area: number, rule: number): number {
    let sum = 0;
    for (let worker = 0; worker < WORKERS; worker++) {
      sum += this.doubles[(HITS_AT >> 3) + (area * WORKERS + worker) * MAX_RULES + rule]!;
    }
    return sum;
  }

  /** Counts a packet that went no further. `reason` is an index into `DROPS`. */
  drop(worker: number, reason: number): void {
    const at = HEADER_BYTES / 8 + worker * DROPS.length + reason;
    this.doubles[at] = this.doubles[at]! + 1;
  }

  /** How often a reason occurred, over all workers. */
  dropCount(reason: number): number {
    let sum = 0;
    for (let worker = 0; worker < WORKERS; worker++) {
      sum += this.doubles[HEADER_BYTES / 8 + worker * DROPS.length + reason]!;
    }
    return sum;
  }

  /** Counts a packet of a peer that the filter dropped; `protocol` of {@link FILTERED_PROTOCOLS}. */
  countFiltered(worker: number, peer: number, protocol: number): void {
    const at = filteredAt(worker, peer) + protocol;
    this.doubles[at] = this.doubles[at]! + 1;
  }

  /** How many packets of a peer the filter dropped since it was added. */
  filteredCount(peer: number, protocol: number): number {
    let sum = 0;
    for (let worker = RX; worker < RX + MAX_WORKERS; worker++) {
      sum += this.doubles[filteredAt(worker, peer) + protocol]!;
    }
    return sum;
  }

  /** Counts a packet that went to or came from a peer. */
  count(worker: number, peer: number, bytes: number): void {
    const at = counterAt(worker, peer);
    this.doubles[at] = this.doubles[at]! + 1;
    this.doubles[at + 1] = this.doubles[at + 1]! + bytes;
  }

  /** What workers have counted for a peer since it was added; `first` is `TX` or `RX`. */
  counted(first: number, peer: number): { readonly packets: number; readonly bytes: number } {
    let [packets, bytes] = [0, 0];
    for (let worker = first; worker < first + MAX_WORKERS; worker++) {
      packets += this.doubles[counterAt(worker, peer)]!;
      bytes += this.doubles[counterAt(worker, peer) + 1]!;
    }
    return { packets, bytes };
  }

  /** Sets a peer's counters to zero; no worker may know the peer. */
  clearCounters(peer: number): void {
    for (let worker = 0; worker < WORKERS; worker++) {
      this.doubles.fill(0, counterAt(worker, peer), counterAt(worker, peer) + 2);
    }
    for (let worker = RX; worker < RX + MAX_WORKERS; worker++) {
      const at = filteredAt(worker, peer);
      this.doubles.fill(0, at, at + FILTERED_PROTOCOLS.length);
    }
  }
}

/** Index of a worker's packet count of a peer in the doubles; its bytes follow. */
function counterAt(worker: number, peer: number): number {
  return (COUNTERS_AT >> 3) + 2 * (worker * MAX_PEERS + peer);
}

/** Index of an rx worker's first count of what the filter dropped of a peer. */
function filteredAt(worker: number, peer: number): number {
  return (FILTERED_AT >> 3) + ((worker - RX) * MAX_PEERS + peer) * FILTERED_PROTOCOLS.length;
}

/** Where the next field of any type may begin. */
function align(at: number): number {
  return Math.ceil(at / 64) * 64;
}

/** Byte offset of a peer. */
export function peerAt(peer: number): number {
  return PEERS_AT + peer * PEER.size;
}

/** Byte offset of a keypair. */
export function keypairAt(slot: number): number {
  return KEYPAIRS_AT + slot * KEYPAIR.size;
}

/** Sets a flag; returns whether it was clear, that is whether the control thread must be told. */
export function raiseFlag(shared: SharedState, peer: number, flag: number): boolean {
  const word = (peerAt(peer) + PEER.flags) >> 2;
  if ((Atomics.load(shared.atomics, word) & flag) !== 0) return false;
  return (Atomics.or(shared.atomics, word, flag) & flag) === 0;
}

/**
 * The route table to use for one batch, protected from being rebuilt until {@link endRoutes}.
 *
 * The generation is published before the table is used and checked again after, so the control
 * thread either sees that it is being read or the reader sees that it was replaced.
 */
export function beginRoutes(shared: SharedState, worker: number): Uint32Array {
  for (;;) {
    const generation = Atomics.load(shared.atomics, HEADER.routeGeneration);
    Atomics.store(shared.atomics, HEADER.readers + worker, generation + 1);
    if (Atomics.load(shared.atomics, HEADER.routeGeneration) === generation) {
      return shared.routeAreas[generation & 1]!;
    }
  }
}

/** Ends what {@link beginRoutes} began. */
export function endRoutes(shared: SharedState, worker: number): void {
  Atomics.store(shared.atomics, HEADER.readers + worker, 0);
}
