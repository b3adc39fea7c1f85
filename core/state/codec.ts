/**
 * How does a node keep the log on its disk, so that a crash costs at most the last entry?
 *
 * The file is only ever appended to. Integers are big-endian:
 *
 *     "tunnelmesh-log-1\n"     17 bytes
 *     then frames:
 *       uint8  what            1 an entry, 2 a bundle (first frame only)
 *       uint32 length          bytes of the text
 *       8 bytes                of SHA-256 over the number of the frame (uint32), what, length, text
 *       text                   JSON in UTF-8
 *
 * The checksum finds what a crash or a disk did to the bytes, not what an attacker did: the log
 * checks signatures again whenever it is read. That the file was cut at a frame's end, or replaced
 * by an old copy, cannot be seen from it; such a node is behind and catches up with its peers.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { z } from "zod";
import { concatBytes, equalConstantTime, fromUtf8, utf8 } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { SignedEntry } from "./entry.ts";
import { type Bundle, MeshLog } from "./log.ts";

/** First bytes of every file, with the format's version. */
export const MAGIC: Uint8Array = utf8("tunnelmesh-log-1\n");

const WHAT = { entry: 1, bundle: 2 } as const;
const CHECKSUM_BYTES = 8;
const HEADER_BYTES = 1 + 4 + CHECKSUM_BYTES;
/** Bounds what a damaged length makes the reader look at. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024;

const BundleText = z.strictObject({
  admins: z.array(SignedEntry),
  snapshot: SignedEntry,
  state: z.string(),
});

/** What a file holds, as far as it is whole. */
export interface LogImage {
  /** What the log begins with; null when it begins with the genesis. */
  readonly bundle: Bundle | null;
  readonly entries: readonly SignedEntry[];
  /** Bytes that are whole. Cut the file here before anything is appended. */
  readonly validBytes: number;
  /** Frames that are whole; what {@link encodeFrame} needs for the next. */
  readonly frames: number;
  /** What stands behind the whole frames: nothing, or bytes that are no frame. */
  readonly tail: "none" | "damaged";
}

/** The file of a log that begins with a bundle. */
export function encodeBundle(bundle: Bundle): Uint8Array {
  return concatBytes(MAGIC, frame(0, WHAT.bundle, JSON.stringify(bundle)));
}

/** What is appended for an entry; `index` is the number of frames before it in the file. */
export function encodeFrame(index: number, entry: SignedEntry): Uint8Array {
  return frame(index, WHAT.entry, JSON.stringify(entry));
}

/** The whole file of a log that begins with its genesis. */
export function encodeImage(entries: readonly SignedEntry[]): Uint8Array {
  return concatBytes(MAGIC, ...entries.map((entry, index) => encodeFrame(index, entry)));
}

/**
 * Reads a file. Never fails on damage behind its first bytes: it returns what is whole before that.
 * @throws {MeshError} "state-invalid" when it is no such file. One shorter than its first bytes is
 * an empty log.
 */
export function decodeImage(bytes: Uint8Array): LogImage {
  const start = bytes.subarray(0, MAGIC.length);
  if (!equalConstantTime(start, MAGIC.subarray(0, start.length))) {
    throw new MeshError("state-invalid", "Cannot read the log's file: it is none or a newer one", {
      hint: "Delete it; the node gets the log again from its peers",
    });
  }
  const isCut = start.length < MAGIC.length;
  let at = isCut ? 0 : MAGIC.length;
  let bundle: Bundle | null = null;
  const entries: SignedEntry[] = [];
  let index = 0;
  while (!isCut) {
    const read = readFrame(bytes, at, index);
    if (!read) break;
    if (read.bundle) bundle = read.bundle;
    else entries.push(read.entry);
    at += read.length;
    index++;
  }
  const tail = at === bytes.length ? "none" : "damaged";
  return { bundle, entries, validBytes: at, frames: index, tail };
}

/**
 * Makes a log of a file's content.
 * @returns null for an empty file.
 * @throws {MeshError} when an entry is refused: the file is not of this mesh, or was forged.
 */
export function openImage(image: LogImage, meshId: string): MeshLog | null {
  const [first, ...rest] = image.entries;
  if (!image.bundle && !first) return null;
  const log = image.bundle ? MeshLog.resume(image.bundle, meshId) : MeshLog.begin(first, meshId);
  for (const signed of image.bundle ? image.entries : rest) log.append(signed);
  return log;
}

type Frame =
  & { readonly length: number }
  & (
    | { readonly bundle: Bundle; readonly entry?: never }
    | { readonly entry: SignedEntry; readonly bundle?: never }
  );

function readFrame(bytes: Uint8Array, at: number, index: number): Frame | null {
  if (bytes.length - at < HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER_BYTES);
  const what = view.getUint8(0);
  const length = view.getUint32(1);
  const isPossible = length <= MAX_FRAME_BYTES && length <= bytes.length - at - HEADER_BYTES &&
    (what === WHAT.entry || (what === WHAT.bundle && index === 0));
  if (!isPossible) return null;
  const body = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
  const stored = bytes.subarray(at + HEADER_BYTES - CHECKSUM_BYTES, at + HEADER_BYTES);
  if (!equalConstantTime(stored, checksum(index, what, body))) return null;
  const value = jsonOrNull(body);
  const whole = HEADER_BYTES + length;
  if (what === WHAT.bundle) {
    const parsed = BundleText.safeParse(value);
    return parsed.success ? { bundle: parsed.data, length: whole } : null;
  }
  const parsed = SignedEntry.safeParse(value);
  return parsed.success ? { entry: parsed.data, length: whole } : null;
}

function frame(index: number, what: number, text: string): Uint8Array {
  const body = utf8(text);
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint8(0, what);
  view.setUint32(1, body.length);
  header.set(checksum(index, what, body), HEADER_BYTES - CHECKSUM_BYTES);
  return concatBytes(header, body);
}

/** The frame's number is in it, so that frames that changed places or were repeated are found. */
function checksum(index: number, what: number, body: Uint8Array): Uint8Array {
  const head = new Uint8Array(9);
  const view = new DataView(head.buffer);
  view.setUint32(0, index);
  view.setUint8(4, what);
  view.setUint32(5, body.length);
  return sha256(concatBytes(head, body)).subarray(0, CHECKSUM_BYTES);
}

function jsonOrNull(body: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(body));
  } catch {
    return null;
  }
}
