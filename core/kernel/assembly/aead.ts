/**
 * ChaCha20-Poly1305 over whole batches (RFC 8439), with WireGuard's nonces.
 * @module
 */
import {
  absorbLengths,
  absorbRest,
  BLOCK,
  clearMac,
  drainQueue,
  isTag,
  queueBlocks,
  startMac,
  writeTag,
} from "./poly1305";
import { keystream, setKey, setNonce, STATE_BYTES, TURN, xorStream } from "./chacha20";
import { scratch } from "./scratch";

/** Bytes of a row: at, length, counter (low and high word), whether it opened. */
const ROW: u32 = 20;
/** Block 0 of the keystream is the key of the tag, the message begins with block 1. */
const KEY_BLOCK: u32 = 64;
/** Bytes of keystream in the first turn that are the message's. */
const FIRST: u32 = TURN - KEY_BLOCK;
/** Bytes of keystream that the scratch memory has room for, behind the state. */
const MAX_STREAM: u32 = 60 * TURN;

/** The sealed message whose tag is not written yet; its last blocks are in the queue. */
let pendingAt: usize = 0;
let pendingLength: u32 = 0;
let pendingAad: u32 = 0;
let isPending: bool = false;
/** Bytes of keystream that the batch has left in the scratch memory, at most. */
let streamBytes: u32 = TURN;

/**
 * Encrypts the messages `[at, at + length)` of `count` rows in place with the key of 32 bytes at
 * `key`, and writes each one's tag behind it.
 */
export function sealBatch(rows: usize, count: u32, key: usize): void {
  setKey(key);
  for (let i: u32 = 0; i < count; i++, rows += ROW) {
    setNonce(0, load<u32>(rows, 8), load<u32>(rows, 12));
    sealMessage(load<u32>(rows), load<u32>(rows, 4), 0, 0);
  }
  finishPending();
  clearSecrets();
}

/**
 * Verifies and decrypts the messages `[at, at + length)` of `count` rows, whose last 16 bytes are
 * the tag, in place. A row's last word becomes 1, or 0 where the message is not authentic; nothing
 * of such a message is decrypted. Returns how many are authentic.
 */
export function openBatch(rows: usize, count: u32, key: usize): u32 {
  let opened: u32 = 0;
  setKey(key);
  for (let i: u32 = 0; i < count; i++, rows += ROW) {
    setNonce(0, load<u32>(rows, 8), load<u32>(rows, 12));
    const ok = openMessage(load<u32>(rows), load<u32>(rows, 4), 0, 0);
    store<u32>(rows, ok, 16);
    opened += ok;
  }
  clearSecrets();
  return opened;
}

/** Seals one message as {@link sealBatch} does, with any nonce of 12 bytes and associated data. */
export function aeadSeal(
  at: usize,
  length: u32,
  key: usize,
  nonce: usize,
  aad: usize,
  aadLength: u32,
): void {
  setKey(key);
  setNonce(load<u32>(nonce), load<u32>(nonce, 4), load<u32>(nonce, 8));
  sealMessage(at, length, aad, aadLength);
  finishPending();
  clearSecrets();
}

/** Opens one message as {@link openBatch} does, with any nonce and associated data: 1 or 0. */
export function aeadOpen(
  at: usize,
  length: u32,
  key: usize,
  nonce: usize,
  aad: usize,
  aadLength: u32,
): u32 {
  setKey(key);
  setNonce(load<u32>(nonce), load<u32>(nonce, 4), load<u32>(nonce, 8));
  const ok = openMessage(at, length, aad, aadLength);
  clearSecrets();
  return ok;
}

/**
 * Encrypts a message and leaves its tag pending: its last blocks are absorbed while the keystream
 * of the next message is made.
 */
function sealMessage(at: usize, length: u32, aad: usize, aadLength: u32): void {
  const stream = scratch + STATE_BYTES;
  keystream(stream);
  finishPending();
  startMac(stream);
  absorbAad(aad, aadLength);
  let begin: u32 = 0;
  let end = min<u32>(FIRST, length);
  xorStream(at, stream + KEY_BLOCK, end);
  while (end < length) {
    queueBlocks(at + begin, end - begin);
    keystream(stream);
    begin = end;
    end = min<u32>(begin + TURN, length);
    xorStream(at + begin, stream, end - begin);
  }
  queueBlocks(at + begin, end - begin);
  pendingAt = at;
  pendingLength = length;
  pendingAad = aadLength;
  isPending = true;
}

/** Writes the tag of the pending message, if there is one. */
function finishPending(): void {
  if (!isPending) return;
  finishMac(pendingAt, pendingLength, pendingAad);
  writeTag(pendingAt + pendingLength);
  isPending = false;
}

function openMessage(at: usize, length: u32, aad: usize, aadLength: u32): u32 {
  if (length < BLOCK) return 0;
  length -= BLOCK;
  const stream = scratch + STATE_BYTES;
  keystream(stream);
  startMac(stream);
  absorbAad(aad, aadLength);
  // All keystream first, as far as there is room: the tag is verified meanwhile.
  queueBlocks(at, length);
  let made = TURN;
  while (made < length + KEY_BLOCK && made < MAX_STREAM) {
    keystream(stream + made);
    made += TURN;
  }
  streamBytes = max<u32>(streamBytes, made);
  finishMac(at, length, aadLength);
  if (!isTag(at + length)) return 0;
  let done = min<u32>(made - KEY_BLOCK, length);
  xorStream(at, stream + KEY_BLOCK, done);
  while (done < length) {
    keystream(stream);
    const count = min<u32>(TURN, length - done);
    xorStream(at + done, stream, count);
    done += count;
  }
  return 1;
}

function absorbAad(aad: usize, length: u32): void {
  queueBlocks(aad, length);
  drainQueue();
  absorbRest(aad, length);
}

/** Absorbs the end of a message: what is queued, the incomplete block, the lengths. */
function finishMac(at: usize, length: u32, aadLength: u32): void {
  drainQueue();
  absorbRest(at, length);
  absorbLengths(aadLength, length);
}

/** Erases key, keystream and accumulator. */
function clearSecrets(): void {
  memory.fill(scratch, 0, STATE_BYTES + streamBytes);
  streamBytes = TURN;
  clearMac();
}
