/**
 * What carries encrypted datagrams to peers beside the node's own UDP socket: relays, SSH.
 *
 * A link knows peers by id and never looks into what it carries. To the data plane each pair of
 * link and peer is one more endpoint (`core/daemon/path_shell.ts`).
 * @module
 */
import type { PeerId } from "./ids.ts";
import type { Endpoint } from "./ip.ts";

/** Most bytes in a {@link Train}, as in one UDP send. */
export const MAX_TRAIN_BYTES = 65_507;
/** Most datagrams in a {@link Train}: what one `UDP_SEGMENT` send takes. */
export const MAX_TRAIN_SEGMENTS = 64;

/** Datagrams back to back, as a GRO receive hands them over: all of one length but the last. */
export interface Train {
  /** Only valid during the call. */
  readonly bytes: Uint8Array;
  /** Length of each datagram but the last, which may be shorter; at least 1. */
  readonly segment: number;
}

/** Whether `length` bytes in datagrams of `segment` are within a train's limits. */
export function fitsTrain(segment: number, length: number): boolean {
  return Number.isInteger(segment) && segment >= 1 && segment <= MAX_TRAIN_BYTES && length >= 1 &&
    length <= MAX_TRAIN_BYTES && length <= segment * MAX_TRAIN_SEGMENTS;
}

/** Whether a train is within its limits. */
export function isTrain({ bytes, segment }: Train): boolean {
  return fitsTrain(segment, bytes.length);
}

/** A datagram below that is short: what does not fill a packet is rarely part of a transfer. */
export const SHORT_BYTES = 1_200;

/**
 * A train without the short datagram that ends one of long ones, and that datagram: it may be of
 * another flow than they, and links treat the two kinds differently.
 */
export function splitShort(train: Train): readonly Train[] {
  const { bytes, segment } = train;
  const rest = bytes.length % segment;
  if (segment < SHORT_BYTES || bytes.length < segment || rest === 0 || rest >= SHORT_BYTES) {
    return [train];
  }
  const end = bytes.length - rest;
  return [
    { bytes: bytes.subarray(0, end), segment },
    { bytes: bytes.subarray(end), segment: rest },
  ];
}

/** What a link tells its owner. */
export interface LinkEvents {
  /** Datagrams came from `peer`, which the link has authenticated. */
  received(peer: PeerId, train: Train): void;
  /**
   * The way to `peer` began or ceased to work, or all ways of the link did when it is null.
   * @param why A sentence part for users, e.g. "the peer is not connected to this relay".
   */
  changed(peer: PeerId | null, isUp: boolean, why: string): void;
}

/** One link; it dials, keeps itself connected, and retries by itself. */
export interface Link {
  readonly kind: "relay" | "ssh";
  /** Unique in the node and stable over restarts, e.g. `relay:mesh.example.com:8443`. */
  readonly name: string;
  /** Whether {@link send} to `peer` has a chance now. */
  isUp(peer: PeerId): boolean;
  /**
   * Where `peer` listens, for links that dial peers; others ignore it. An empty list hangs up.
   */
  dial(peer: PeerId, endpoints: readonly Endpoint[]): void;
  /** Hands datagrams over; false when they, or some before them, were dropped: no way or no room. */
  send(peer: PeerId, train: Train): boolean;
  /** The machine changed networks or woke up: trust no connection, connect anew at once. */
  reconnect(): void;
  /** Ends every connection; no event follows. */
  close(): Promise<void>;
}
