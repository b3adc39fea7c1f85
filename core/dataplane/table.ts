/**
 * The control thread's side of the shared state: it installs keypairs, endpoints and routes, and
 * reads counters. Nothing else writes those fields (see `layout.ts`).
 * @module
 */
import { assert } from "../assert.ts";
import { DROPS } from "../drops.ts";
import { type Endpoint, formatEndpoint, formatIp, type Ip, parseEndpoint, parseIp } from "../ip.ts";
import { DEFAULT_FLOWS, FlowTable, initFlowTable } from "../filter/flow_table.ts";
import { buildRouteTable, type Route } from "../route/lpm.ts";
import { newestCounter } from "../wireguard/replay_window.ts";
import {
  COMMAND,
  FILTER_WORDS,
  FILTERED_PROTOCOLS,
  HEADER,
  KEYPAIR,
  keypairAt,
  KEYPAIRS_PER_PEER,
  MAX_PEERS,
  MAX_RULES,
  MAX_WORKERS,
  PEER,
  peerAt,
  RX,
  type SharedState,
  TX,
} from "./layout.ts";
import { readEndpoint, readStandby, writeEndpoint, writeStandby } from "./rx_path.ts";

/** What the control thread installs once a handshake is complete. */
export interface InstalledKeypair {
  readonly peer: number;
  readonly slot: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  /** What both ends agreed on (`features.ts`). */
  readonly features: number;
}

/** Rules as `filter/compile.ts` makes them, and the ids of those rules in their order. */
export interface CompiledRules {
  readonly words: Int32Array;
  readonly ids: readonly string[];
}

/** Totals of one peer, and the loss on its present key. */
export interface PeerCounters {
  readonly packetsSent: number;
  readonly bytesSent: number;
  readonly packetsReceived: number;
  readonly bytesReceived: number;
  /** Share of inbound messages lost on the newest used keypair, or null before any came. */
  readonly loss: number | null;
}

/** Writes what workers act upon. */
export class PeerTable {
  readonly #shared: SharedState;
  #filter: CompiledRules | null = null;
  /** Whose rules each filter area holds. */
  readonly #ruleIds: [readonly string[], readonly string[]] = [[], []];
  /** What rules of areas that were written over have counted. */
  readonly #hitsById = new Map<string, number>();
  #flows: FlowTable | null = null;

  constructor(shared: SharedState) {
    this.#shared = shared;
  }

  /** Makes room for flows, before the workers start. @param seed A random word. */
  openFlows(seed: number): void {
    const { flows } = this.#shared;
    initFlowTable(flows, DEFAULT_FLOWS, seed);
    this.#flows = new FlowTable(flows);
  }

  /** Sets this node's own addresses; packets for others are refused. Absent ones match nothing. */
  setOwnAddresses(addresses: readonly Ip[]): void {
    const { words } = this.#shared;
    words.fill(0, HEADER.ownIp4, HEADER.ownIp6 + 4);
    for (const address of addresses) {
      const bytes = parseIp(address);
      assert(bytes !== null, `address ${address} is not canonical`);
      const view = new DataView(bytes.buffer);
      const first = bytes.length === 4 ? HEADER.ownIp4 : HEADER.ownIp6;
      for (let i = 0; i < bytes.length / 4; i++) words[first + i] = view.getUint32(4 * i);
    }
  }

  /** Says whether this node leads to other networks, as far as the filter allows. */
  setForwards(forwards: boolean): void {
    Atomics.store(this.#shared.atomics, HEADER.forwards, forwards ? 1 : 0);
  }

  /** Makes the slot of a peer empty and ready. */
  addPeer(peer: number): void {
    assert(peer >= 0 && peer < MAX_PEERS, `peer slot ${peer} is out of range`);
    const at = peerAt(peer);
    this.#shared.words.fill(0, at >> 2, (at + PEER.size) >> 2);
    this.#shared.clearCounters(peer);
    const count = Atomics.load(this.#shared.atomics, HEADER.peerCount);
    if (peer >= count) Atomics.store(this.#shared.atomics, HEADER.peerCount, peer + 1);
  }

  /** Forgets a peer with all its keys and the packets that wait for it. */
  removePeer(peer: number): void {
    for (let k = 0; k < KEYPAIRS_PER_PEER; k++) this.forget(peer, peer * KEYPAIRS_PER_PEER + k);
    this.#shared.words[(peerAt(peer) + PEER.endpointPort) >> 2] = 0;
    this.#flows?.forgetPeer(peer);
    this.dropStaged(peer);
  }

  /** Installs a keypair; it opens at once, and seals only after {@link promote}. */
  install(keypair: InstalledKeypair): void {
    const { words, bytes, atomics } = this.#shared;
    const at = keypairAt(keypair.slot);
    this.#clear(at);
    words[(at + KEYPAIR.localIndex) >> 2] = keypair.localIndex;
    words[(at + KEYPAIR.remoteIndex) >> 2] = keypair.remoteIndex;
    words[(at + KEYPAIR.peer) >> 2] = keypair.peer;
    words[(at + KEYPAIR.features) >> 2] = keypair.features;
    bytes.set(keypair.sendKey, at + KEYPAIR.sendKey);
    bytes.set(keypair.receiveKey, at + KEYPAIR.receiveKey);
    // All that workers write: counters, lock, replay window.
    words.fill(0, (at + KEYPAIR.used) >> 2, (at + KEYPAIR.size) >> 2);
    Atomics.store(atomics, (at + KEYPAIR.state) >> 2, 1);
  }

  /** Seals with the keypair in `slot` from here on. */
  promote(peer: number, slot: number): void {
    Atomics.store(this.#shared.atomics, (peerAt(peer) + PEER.current) >> 2, slot + 1);
    this.#command(peer, COMMAND.keypairChanged);
  }

  /** Erases the keypair in `slot`. */
  forget(peer: number, slot: number): void {
    const current = (peerAt(peer) + PEER.current) >> 2;
    Atomics.compareExchange(this.#shared.atomics, current, slot + 1, 0);
    this.#clear(keypairAt(slot));
    this.#command(peer, COMMAND.keypairChanged);
  }

  /** Drops the packets that wait for a session; true, since tx must be told. */
  dropStaged(peer: number): boolean {
    this.#command(peer, COMMAND.forget);
    return true;
  }

  /** Asks one tx worker for an empty message on the current keypair. */
  sendKeepalive(peer: number): void {
    const word = (peerAt(peer) + PEER.commands) >> 2;
    Atomics.or(this.#shared.atomics, word, COMMAND.sendKeepalive);
  }

  /** Sends a peer's datagrams to `endpoint` from here on. */
  setEndpoint(peer: number, endpoint: Endpoint): void {
    const parsed = parseEndpoint(endpoint);
    assert(parsed !== null, `endpoint ${endpoint} is not canonical`);
    writeEndpoint(this.#shared, peer, { bytes: mapped(parsed.ip), at: 0, port: parsed.port });
  }

  /** Sends a peer's datagrams to `endpoint` as well, or to one place only when it is null. */
  setStandby(peer: number, endpoint: Endpoint | null): void {
    const parsed = endpoint === null ? null : parseEndpoint(endpoint);
    const bytes = parsed ? mapped(parsed.ip) : new Uint8Array(16);
    writeStandby(this.#shared, peer, { bytes, at: 0, port: parsed?.port ?? 0 });
  }

  /** Limits the packets that are sealed for a peer; null lifts the limit. */
  setMtu(peer: number, mtu: number | null): void {
    Atomics.store(this.#shared.atomics, (peerAt(peer) + PEER.mtu) >> 2, mtu ?? 0);
  }

  /** Where a peer's datagrams go, or null. */
  endpoint(peer: number): Endpoint | null {
    const ip = new Uint8Array(16);
    const port = readEndpoint(this.#shared, peer, ip);
    return port === 0 ? null : formatEndpoint(unmapped(ip), port);
  }

  /** Where else they go, or null. */
  standby(peer: number): Endpoint | null {
    const ip = new Uint8Array(16);
    const port = readStandby(this.#shared, peer, ip);
    return port === 0 ? null : formatEndpoint(unmapped(ip), port);
  }

  /** What was agreed on for the keypair that seals (`features.ts`); 0 without one. */
  features(peer: number): number {
    const { words } = this.#shared;
    const slot = words[(peerAt(peer) + PEER.current) >> 2]! - 1;
    return slot < 0 ? 0 : words[(keypairAt(slot) + KEYPAIR.features) >> 2]!;
  }

  /** Takes and clears the flags in `mask`; returns those that were set. */
  takeFlags(peer: number, mask: number): number {
    const word = (peerAt(peer) + PEER.flags) >> 2;
    return Atomics.and(this.#shared.atomics, word, ~mask) & mask;
  }

  /** The flags that are set, without clearing them. */
  flags(peer: number): number {
    return Atomics.load(this.#shared.atomics, (peerAt(peer) + PEER.flags) >> 2);
  }

  /** Local indices of the peer's keypairs on which authenticated messages came. */
  usedKeypairs(peer: number): number[] {
    const used: number[] = [];
    for (let k = 0; k < KEYPAIRS_PER_PEER; k++) {
      const at = keypairAt(peer * KEYPAIRS_PER_PEER + k);
      if (
        Atomics.load(this.#shared.atomics, (at + KEYPAIR.state) >> 2) !== 0 &&
        Atomics.load(this.#shared.atomics, (at + KEYPAIR.used) >> 2) !== 0
      ) used.push(this.#shared.words[(at + KEYPAIR.localIndex) >> 2]!);
    }
    return used;
  }

  /**
   * Replaces the route table. Returns false when a worker still reads the area to be written;
   * try again a moment later.
   */
  setRoutes(routes: readonly Route[]): boolean {
    return this.#publish(routes, this.#filter);
  }

  /**
   * Replaces routes and the filter's rules at once. Returns false when a worker still reads the area
   * to be written; try again a moment later.
   * @throws {RangeError} when there are more rules than a node can have.
   */
  setRoutesAndRules(routes: readonly Route[], filter: CompiledRules): boolean {
    const { words, ids } = filter;
    if (words.length > FILTER_WORDS || ids.length > MAX_RULES) {
      throw new RangeError(`Cannot use ${ids.length} filter rules: their table is too large`);
    }
    return this.#publish(routes, filter);
  }

  /** How many packets each rule decided of since it was first published, by its id. */
  ruleHits(): ReadonlyMap<string, number> {
    const hits = new Map(this.#hitsById);
    for (const area of [0, 1]) this.#addHits(area, hits);
    return hits;
  }

  #addHits(area: number, hits: Map<string, number>): void {
    this.#ruleIds[area]!.forEach((id, rule) => {
      hits.set(id, (hits.get(id) ?? 0) + this.#shared.ruleHitCount(area, rule));
    });
  }

  #publish(routes: readonly Route[], filter: CompiledRules | null): boolean {
    const { atomics, routeAreas, filterAreas } = this.#shared;
    const generation = Atomics.load(atomics, HEADER.routeGeneration);
    for (let worker = 0; worker < 2 * MAX_WORKERS; worker++) {
      const reading = Atomics.load(atomics, HEADER.readers + worker);
      if (reading !== 0 && reading !== generation + 1) return false;
    }
    const area = (generation + 1) & 1;
    buildRouteTable(routeAreas[area]!, routes);
    this.#addHits(area, this.#hitsById);
    this.#shared.clearRuleHits(area, this.#ruleIds[area]!.length);
    this.#ruleIds[area] = filter?.ids ?? [];
    if (filter) filterAreas[area]!.set(filter.words);
    Atomics.store(atomics, HEADER.routeGeneration, generation + 1);
    this.#filter = filter;
    return true;
  }

  /** Totals of one peer. */
  counters(peer: number): PeerCounters {
    const [sent, received] = [this.#shared.counted(TX, peer), this.#shared.counted(RX, peer)];
    return {
      packetsSent: sent.packets,
      bytesSent: sent.bytes,
      packetsReceived: received.packets,
      bytesReceived: received.bytes,
      loss: this.#loss(peer),
    };
  }

  /** How many packets of a peer the filter dropped, by protocol. */
  filtered(peer: number): Record<typeof FILTERED_PROTOCOLS[number], number> {
    const counts = FILTERED_PROTOCOLS.map((name, protocol) =>
      [name, this.#shared.filteredCount(peer, protocol)] as const
    );
    return Object.fromEntries(counts) as ReturnType<PeerTable["filtered"]>;
  }

  /** Drops by reason; only reasons that occurred. */
  drops(): Record<string, number> {
    const counts = DROPS.map((reason, i) => [reason, this.#shared.dropCount(i)] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  /** Gaps in the counters received on the current keypair. */
  #loss(peer: number): number | null {
    const { words, doubles } = this.#shared;
    const slot = words[(peerAt(peer) + PEER.current) >> 2]! - 1;
    if (slot < 0) return null;
    const at = keypairAt(slot);
    const received = doubles[(at + KEYPAIR.received) >> 3]!;
    if (received === 0) return null;
    const window = (at + KEYPAIR.replay) >> 2;
    const expected = newestCounter(words, window) + 1;
    return expected <= received ? 0 : (expected - received) / expected;
  }

  /** Tells every tx worker: packets of one peer may wait in each. */
  #command(peer: number, command: number): void {
    const { atomics } = this.#shared;
    const word = (peerAt(peer) + PEER.commands) >> 2;
    const workers = Math.max(1, Atomics.load(atomics, HEADER.workers));
    for (let worker = 0; worker < workers; worker++) Atomics.or(atomics, word + worker, command);
  }

  #clear(at: number): void {
    const { atomics, bytes } = this.#shared;
    Atomics.store(atomics, (at + KEYPAIR.state) >> 2, 0);
    Atomics.add(atomics, (at + KEYPAIR.generation) >> 2, 1);
    bytes.fill(0, at + KEYPAIR.sendKey, at + KEYPAIR.receiveKey + 32);
  }
}

/** 16 address bytes; IPv4 is mapped into `::ffff:0:0/96` (RFC 4291 section 2.5.5.2). */
export function mapped(ip: Ip): Uint8Array {
  const bytes = parseIp(ip);
  assert(bytes !== null, `address ${ip} is not canonical`);
  if (bytes.length === 16) return bytes;
  const out = new Uint8Array(16);
  out[10] = out[11] = 0xff;
  out.set(bytes, 12);
  return out;
}

/** The address in 16 bytes, as IPv4 when it is mapped. */
export function unmapped(bytes: Uint8Array): Ip {
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff &&
    bytes[11] === 0xff;
  return formatIp(isMapped ? bytes.slice(12) : bytes.slice(0, 16));
}
