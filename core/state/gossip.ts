/**
 * How do two nodes talk about the mesh's log without a coordinator? Inside their session, in
 * messages that are cut into parts which fit into one datagram on any path.
 *
 * A part that is lost costs the whole text: {@link LogSync} asks again, here or elsewhere. Between
 * nodes goes what a coordinator withholds or cannot carry, so this is small and rare.
 * @module
 */
import { concatBytes, fromUtf8, utf8 } from "../bytes.ts";
import type { PeerId } from "../ids.ts";

/** Bytes of a text in one part. */
export const PART_BYTES = 1024;
/** Most parts of a text: entries up to the size of the largest policy. */
export const MAX_PARTS = 2048;

/** One part, as a message inside the session carries it. */
export interface LogPart {
  readonly type: "log";
  /** Sets one text of a sender apart from the next, 0 to 65535. */
  readonly id: number;
  readonly part: number;
  readonly parts: number;
  readonly bytes: Uint8Array;
}

/** A text of which parts are missing. */
interface Pending {
  readonly id: number;
  readonly parts: (Uint8Array | undefined)[];
  missing: number;
}

/** Cuts what is said and joins what is heard; keeps one unfinished text for each peer. */
export class LogGossip {
  readonly #pending = new Map<PeerId, Pending>();
  #nextId = 0;

  /** The parts of a text; none of one that is too long. */
  cut(text: string): LogPart[] {
    const bytes = utf8(text);
    const parts = Math.ceil(bytes.length / PART_BYTES);
    if (parts > MAX_PARTS) return [];
    const id = this.#nextId;
    this.#nextId = (id + 1) & 0xffff;
    return Array.from({ length: parts }, (_, part) => ({
      type: "log",
      id,
      part,
      parts,
      bytes: bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES),
    }));
  }

  /** Takes a part from a peer; returns the text when it was the last that was missing. */
  join(peer: PeerId, { id, part, parts, bytes }: LogPart): string | null {
    const isPossible = parts >= 1 && parts <= MAX_PARTS && part < parts &&
      (part === parts - 1 ? bytes.length <= PART_BYTES : bytes.length === PART_BYTES);
    if (!isPossible) return null;
    let pending = this.#pending.get(peer);
    if (pending?.id !== id || pending.parts.length !== parts) {
      pending = { id, parts: new Array(parts).fill(undefined), missing: parts };
      this.#pending.set(peer, pending);
    }
    if (pending.parts[part]) return null;
    pending.parts[part] = bytes.slice();
    if (--pending.missing > 0) return null;
    this.#pending.delete(peer);
    try {
      return fromUtf8(concatBytes(...pending.parts as Uint8Array[]));
    } catch {
      return null;
    }
  }

  /** A peer's session is over. */
  forget(peer: PeerId): void {
    this.#pending.delete(peer);
  }
}
