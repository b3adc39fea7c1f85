/**
 * Every pair of kinds of site: does traffic flow, by which path, and how soon?
 * @module
 */
import type { PathKind } from "../../core/path/address.ts";
import { NAT_KINDS, type SiteKind } from "./internet.ts";
import { NatPair, RELAY_ROUND_TRIP_MS } from "./nat_pair.ts";

/** The first packet may take a round trip over the relay, and as much for the handshake. */
export const FIRST_PACKET_MS = 2 * RELAY_ROUND_TRIP_MS;
/** How long the machines talk, which leaves a search its 10 s. */
const TALK_MS = 20_000;

/** What a pair should come to. */
export type Outcome = "direct" | "search" | "relay";

/** What became of a pair. */
export interface GridRow {
  readonly kinds: readonly [SiteKind, SiteKind];
  readonly expected: Outcome;
  readonly path: PathKind | null;
  /** Null when it never came. */
  readonly firstPacketMs: number | null;
  readonly lost: number;
  /** Most sockets that either side opened beside its own. */
  readonly sockets: number;
}

/** What the kinds of two sites allow. */
export function expectedOutcome(a: SiteKind, b: SiteKind): Outcome {
  const both = [a, b];
  if (both.every(({ name }) => name === "ipv6")) return "direct";
  if (both.some(({ expected }) => expected.mapping === "unknown")) return "relay";
  const isStable = ({ expected: { mapping } }: SiteKind) =>
    mapping === "none" || mapping === "endpoint-independent";
  if (both.every(isStable)) return "direct";
  const stable = both.find(isStable);
  if (!stable) return "relay";
  // Whoever lets in what comes from a known address, or from anywhere, needs no luck.
  return stable.expected.filtering === "address-and-port-dependent" ? "search" : "direct";
}

/** Runs one pair. */
export function runPair(kinds: readonly [SiteKind, SiteKind], seed: number): GridRow {
  using pair = new NatPair(kinds, { seed });
  pair.waitForRelay();
  const firstPacketMs = pair.firstPacket();
  const lost = pair.talk(TALK_MS, 50);
  const paths = [pair.kindOf(pair.a, pair.b), pair.kindOf(pair.b, pair.a)];
  return {
    kinds,
    expected: expectedOutcome(...kinds),
    path: paths[0] === paths[1] ? paths[0]! : null,
    firstPacketMs,
    lost,
    sockets: Math.max(pair.a.paths.punched.sockets, pair.b.paths.punched.sockets),
  };
}

/** Runs every pair once. */
export function* runGrid(seed: number): Generator<GridRow> {
  for (const [i, a] of NAT_KINDS.entries()) {
    for (const b of NAT_KINDS.slice(i)) yield runPair([a, b], seed);
  }
}

/** What went wrong with a pair, or null. */
export function problemOf(row: GridRow): string | null {
  const { expected, path, firstPacketMs, lost } = row;
  const wanted = expected === "relay" ? "relay" : "udp";
  if (firstPacketMs === null) return "the first packet never came";
  if (firstPacketMs > FIRST_PACKET_MS) return `the first packet took ${firstPacketMs} ms`;
  if (lost > 0) return `${lost} packets were lost`;
  return path === wanted ? null : `the path is ${path}, not ${wanted}`;
}
