/**
 * Datagrams through another node: it passes them on inside its own sessions with both ends.
 *
 * What is carried is sealed for the far end, so the relaying node sees ciphertext only, and since
 * it comes out of the tunnel, the node knows who sent it: a source address in the mesh belongs to
 * one peer. Nothing of it is reachable from outside the mesh, and no stranger can be relayed to.
 *
 * ```
 * u8 1 onward, 8 bytes peer id of the destination, datagram     to the relaying node
 * u8 2 arrived, 8 bytes peer id of the origin, datagram         from it
 * ```
 * @module
 */
import { fromHex, toHex } from "../bytes.ts";
import type { PeerId } from "../ids.ts";
import type { Ip } from "../ip.ts";
import { MAX_TRAIN_BYTES, type Train } from "../link.ts";
import {
  NODE_RELAY_HEADER as HEADER,
  nodePath,
  type PathAddress,
  relayingNode,
} from "../path/address.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import { TrainSocket } from "../platform/linux/train_socket.ts";
import type { Carrier } from "./path_shell.ts";

/** UDP port on the mesh address of a relaying node, and of those it relays for. */
export const NODE_RELAY_PORT = 3481;
const ONWARD = 1;
const ARRIVED = 2;

export interface NodeRelayOptions {
  /** This node's mesh address. */
  readonly address: Ip;
  /** Whether this node passes datagrams of others on. */
  readonly relays: () => boolean;
  /** The IPv4 mesh address of a member, or null for none. */
  readonly addressOf: (id: PeerId) => Ip | null;
  /** The member with that mesh address, or null. */
  readonly memberAt: (address: Ip) => PeerId | null;
  /** Whether a member is known to pass datagrams on. */
  readonly isRelay: (id: PeerId) => boolean;
  readonly received: (path: PathAddress, from: PeerId, train: Train) => void;
}

/** The socket, and what goes through it; see the module's doc. */
export class NodeRelay implements Carrier {
  readonly #options: NodeRelayOptions;
  readonly #socket: TrainSocket;

  /** @throws {MeshError} "system" when the mesh address cannot be bound. */
  constructor(options: NodeRelayOptions, readiness: Readiness) {
    this.#options = options;
    const at = { ip: options.address, port: NODE_RELAY_PORT };
    this.#socket = new TrainSocket(
      at,
      (from, _port, train) => this.#received(from, train),
      readiness,
    );
  }

  send(to: PathAddress, peer: PeerId, train: Train): boolean {
    const relay = relayingNode(to);
    const address = relay === null ? null : this.#options.addressOf(relay);
    if (address === null) return false;
    const parts = piecesOf(train).map((piece) => wrap(ONWARD, peer, piece));
    return parts.every((part) => this.#socket.send(address, NODE_RELAY_PORT, part));
  }

  close(): void {
    this.#socket.close();
  }

  #received(from: Ip, train: Train): void {
    const sender = this.#options.memberAt(from);
    if (sender === null) return;
    for (const group of groupsOf(train)) this.#take(group, sender);
  }

  /** Takes frames of one kind and destination or origin. */
  #take(frames: Train, sender: PeerId): void {
    const { relays, isRelay, addressOf, received } = this.#options;
    const { bytes } = frames;
    const id = toHex(bytes.subarray(1, HEADER));
    if (bytes[0] === ONWARD && relays()) {
      const address = id === sender ? null : addressOf(id);
      if (address === null) return;
      readdress(frames, ARRIVED, sender);
      this.#socket.send(address, NODE_RELAY_PORT, frames);
    } else if (bytes[0] === ARRIVED && isRelay(sender)) {
      received(nodePath(sender), id, unwrap(frames));
    }
  }
}

/** Trains that are short enough to get a header for each datagram. */
function piecesOf({ bytes, segment }: Train): Train[] {
  const most = Math.floor(MAX_TRAIN_BYTES / (segment + HEADER)) * segment;
  const pieces: Train[] = [];
  for (let at = 0; at < bytes.length; at += most) {
    pieces.push({ bytes: bytes.subarray(at, at + most), segment });
  }
  return pieces;
}

/** The same datagrams with a header before each. */
function wrap(kind: number, id: PeerId, { bytes, segment }: Train): Train {
  const count = Math.ceil(bytes.length / segment);
  const frames = new Uint8Array(bytes.length + count * HEADER);
  const header = Uint8Array.of(kind, ...fromHex(id));
  for (let i = 0; i < count; i++) {
    const at = i * (segment + HEADER);
    frames.set(header, at);
    frames.set(bytes.subarray(i * segment, (i + 1) * segment), at + HEADER);
  }
  return { bytes: frames, segment: segment + HEADER };
}

/** The same datagrams without headers, moved within their own memory. */
function unwrap({ bytes, segment }: Train): Train {
  let length = 0;
  for (let at = 0; at < bytes.length; at += segment) {
    const end = Math.min(bytes.length, at + segment);
    bytes.copyWithin(length, at + HEADER, end);
    length += end - at - HEADER;
  }
  return { bytes: bytes.subarray(0, length), segment: segment - HEADER };
}

/** Gives every frame another header, in place. */
function readdress({ bytes, segment }: Train, kind: number, id: PeerId): void {
  const header = Uint8Array.of(kind, ...fromHex(id));
  for (let at = 0; at < bytes.length; at += segment) bytes.set(header, at);
}

/** Runs of whole frames with one header; what is too short for a frame is left out. */
function groupsOf({ bytes, segment }: Train): Train[] {
  const groups: Train[] = [];
  for (let start = 0; start < bytes.length;) {
    let end = Math.min(bytes.length, start + segment);
    if (end - start <= HEADER) break;
    while (end < bytes.length && isSameHeader(bytes, start, end)) {
      end = Math.min(bytes.length, end + segment);
    }
    groups.push({ bytes: bytes.subarray(start, end), segment: Math.min(segment, end - start) });
    start = end;
  }
  return groups;
}

/** Whether a whole frame begins at `at` too, with the header of the one at `start`. */
function isSameHeader(bytes: Uint8Array, start: number, at: number): boolean {
  if (bytes.length - at <= HEADER) return false;
  for (let i = 0; i < HEADER; i++) if (bytes[start + i] !== bytes[at + i]) return false;
  return true;
}
