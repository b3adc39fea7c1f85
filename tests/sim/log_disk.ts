/**
 * What a simulated disk holds of the mesh's log, in the bytes that the product's files have.
 * @module
 */
import { concatBytes } from "../../core/bytes.ts";
import { decodeImage, encodeFrame, encodeImage } from "../../core/state/codec.ts";
import { EntryVerifier, type SignedEntry } from "../../core/state/entry.ts";
import { MeshLog } from "../../core/state/log.ts";

/** Entries of all meshes of a test file: machines of one mesh and many seeds share them. */
const MAX_ENTRIES = 65_536;
const entries = new EntryVerifier(MAX_ENTRIES);

/** Checks each entry once for all machines. */
export const verifyShared = entries.verify;

/** The file of one machine. */
export class LogDisk {
  #bytes: Uint8Array;
  #frames: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#frames = decodeImage(bytes).frames;
  }

  /** A disk with a log that begins with its genesis. */
  static of(log: MeshLog): LogDisk {
    return new LogDisk(encodeImage(log.since(0).map(({ signed }) => signed)));
  }

  /** The same content, which goes its own way. */
  copy(): LogDisk {
    return new LogDisk(this.#bytes);
  }

  /** Reads what is whole, and cuts what is not. */
  open(meshId: string): MeshLog {
    const { entries: [genesis, ...rest], validBytes, frames } = decodeImage(this.#bytes);
    this.#bytes = this.#bytes.subarray(0, validBytes);
    this.#frames = frames;
    const log = MeshLog.begin(genesis, meshId, verifyShared);
    for (const signed of rest) log.append(signed);
    return log;
  }

  append(entries: readonly SignedEntry[]): void {
    const added = entries.map((entry) => encodeFrame(this.#frames++, entry));
    this.#bytes = concatBytes(this.#bytes, ...added);
  }

  /** The power fails while the newest entry is written. */
  tear(bytes: number): void {
    this.#bytes = this.#bytes.subarray(0, this.#bytes.length - bytes);
  }
}
