/**
 * The file that holds the mesh's log, at nodes and coordinators: read at the start, appended to.
 *
 * What is appended is on the disk when the call returns. `core/state/codec.ts` has the format.
 * @module
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { errorMessage, MeshError } from "../errors.ts";
import { decodeImage, encodeFrame, encodeImage, openImage } from "../state/codec.ts";
import type { SignedEntry } from "../state/entry.ts";
import type { MeshLog } from "../state/log.ts";

/** What of a file is good. */
interface Kept {
  readonly bytes: number;
  readonly frames: number;
  readonly cut: number;
}

/** A log and its file. */
export class LogFile implements Disposable {
  readonly log: MeshLog;
  /** Bytes behind the last whole entry that were cut off, as a crash leaves them. */
  readonly cutBytes: number;
  readonly #path: string;
  readonly #file: number;
  #bytes: number;
  #frames: number;
  #isBroken = false;

  private constructor(path: string, log: MeshLog, kept: Kept) {
    this.log = log;
    this.cutBytes = kept.cut;
    this.#path = path;
    this.#bytes = kept.bytes;
    this.#frames = kept.frames;
    this.#file = openSync(path, "r+");
    // Whatever a crash left behind the last whole entry would make the next one unreadable.
    ftruncateSync(this.#file, this.#bytes);
  }

  /**
   * Opens the file at `path`.
   * @param meshId What the log must be of.
   * @returns null when there is none, or nothing whole in it.
   * @throws {MeshError} "state-invalid", or why the log refuses what the file holds.
   */
  static open(path: string, meshId: string): LogFile | null {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
      throw unusable(path, error);
    }
    const image = decodeImage(bytes);
    const log = openImage(image, meshId);
    const { validBytes, frames } = image;
    const cut = bytes.length - validBytes;
    return log && new LogFile(path, log, { bytes: validBytes, frames, cut });
  }

  /** Makes the file of a log that begins with its genesis, in place of one that holds nothing. */
  static create(path: string, log: MeshLog): LogFile {
    const entries = log.since(0).map(({ signed }) => signed);
    const bytes = encodeImage(entries);
    try {
      const file = openSync(path, "w", 0o600);
      writeWhole(file, bytes, 0);
      fsyncSync(file);
      closeSync(file);
      return new LogFile(path, log, { bytes: bytes.length, frames: entries.length, cut: 0 });
    } catch (error) {
      throw unusable(path, error);
    }
  }

  /** @throws {MeshError} "system"; nothing is appended after that until the file is opened anew. */
  append(entries: readonly SignedEntry[]): void {
    if (this.#isBroken) throw unusable(this.#path, new Error("an earlier write failed"));
    try {
      for (const entry of entries) {
        const frame = encodeFrame(this.#frames, entry);
        writeWhole(this.#file, frame, this.#bytes);
        this.#bytes += frame.length;
        this.#frames++;
      }
      fsyncSync(this.#file);
    } catch (error) {
      this.#isBroken = true;
      throw unusable(this.#path, error);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}

function writeWhole(file: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length;) {
    done += writeSync(file, bytes, done, bytes.length - done, at + done);
  }
}

function unusable(path: string, cause: unknown): MeshError {
  if (cause instanceof MeshError) return cause;
  return new MeshError("system", `Cannot keep the mesh's log at ${path}: ${errorMessage(cause)}`, {
    cause,
    hint: "Check the free space and who owns the folder",
  });
}
