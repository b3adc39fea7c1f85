/**
 * Hostile bytes for the packet kernel: datagrams to open, super-packets to cut, packets to join.
 *
 * Every run checks canaries around the memory that the kernel may touch, and that nothing is
 * accepted that the reference refuses. A failure names the seed and the run.
 * @module
 */
import assert from "node:assert/strict";
import { type AeadKey, nobleAead, TAG } from "../../core/dataplane/aead.ts";
import { JOIN, ROW_BYTES, VNET_BYTES } from "../../core/kernel/kernel.ts";
import { SeededRandom } from "../../core/random.ts";
import { KernelRig } from "../kernel_rig.ts";
import { hasRightChecksums, transportPacket } from "../transport_packets.ts";

/** Bytes of canaries on each side. */
const GUARD = 64;
const PIECE = 0x80;

/** A sealed message and what it says. */
interface Sealed {
  readonly counter: number;
  readonly plain: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Opens `count` datagrams, most of them mutated. Returns how many were accepted. */
export function fuzzDatagrams(seed: number, count: number): number {
  const random = new SeededRandom(seed);
  const rig = new KernelRig(65_536);
  const secret = random.bytes(32);
  const reference = nobleAead.key(secret);
  const pool = Array.from({ length: 64 }, (_, i) => sealed(random, reference, i));
  const rowsAt = rig.free, keyAt = rowsAt + 4 * ROW_BYTES, at = rowsAt + 1024;
  const rows = new Uint32Array(rig.bytes.buffer, rowsAt, ROW_BYTES / 4);
  rig.bytes.set(secret, keyAt);
  let accepted = 0;
  for (let run = 0; run < count; run++) {
    const { counter, bytes, plain } = pool[random.uint32() % pool.length]!;
    const where = at + random.uint32() % 16;
    const length = mutatedLength(random, bytes.length);
    rig.guard(where - GUARD, GUARD);
    rig.bytes.set(bytes.subarray(0, length), where);
    const isChanged = mutate(random, rig.bytes, where, length) || length !== bytes.length;
    rig.guard(where + length, GUARD);
    const input = run % 64 === 0 ? rig.bytes.slice(where, where + length) : null;
    rows[0] = where;
    rows[1] = length;
    rows[2] = counter >>> 0;
    rows[3] = Math.floor(counter / 2 ** 32);
    rows[4] = 7;
    const opened = rig.kernel.openBatch(rowsAt, 1, keyAt);
    const isOk = rows[4] === 1;
    const what = `seed ${seed}, run ${run}`;
    assert.equal(opened, isOk ? 1 : 0, what);
    assert.equal(isOk, !isChanged, what);
    assert.ok(rig.isIntact(where - GUARD, GUARD) && rig.isIntact(where + length, GUARD), what);
    if (isOk) {
      accepted++;
      for (let i = 0; i < plain.length; i++) assert.equal(rig.bytes[where + i], plain[i], what);
    }
    if (input) assert.equal(reference.open(input, 0, input.length, counter), isOk, what);
  }
  return accepted;
}

/** Cuts and joins `count` packets, most of them mutated. Returns how many became super-packets. */
export function fuzzPackets(seed: number, count: number): number {
  const random = new SeededRandom(seed);
  const harness = new PacketHarness(random, seed);
  let joined = 0;
  for (let run = 0; run < count; run++) joined += harness.round(run) ? 1 : 0;
  return joined;
}

/** Where a super-packet lies, and where its segments go. */
class PacketHarness {
  readonly #random: SeededRandom;
  readonly #seed: number;
  readonly #rig = new KernelRig(1 << 18);
  readonly #source = this.#rig.free + 1024;
  readonly #out = this.#rig.free + 65_536;
  readonly #pool: readonly Uint8Array[];

  constructor(random: SeededRandom, seed: number) {
    this.#random = random;
    this.#seed = seed;
    this.#pool = ["172.30.0.1", "fd00::1"].flatMap((source) =>
      (["tcp", "udp"] as const).flatMap((protocol) =>
        [0, 1, 100, 1360, 4000].map((size) =>
          transportPacket({ protocol, source, payload: random.bytes(size), flags: 0x18 })
        )
      )
    );
  }

  /** One packet through every function; whether it was cut and joined again. */
  round(run: number): boolean {
    const { bytes, kernel } = this.#rig;
    const random = this.#random;
    const what = `seed ${this.#seed}, run ${run}`;
    const packet = this.#pool[random.uint32() % this.#pool.length]!;
    const at = this.#source;
    const length = mutatedLength(random, packet.length);
    this.#rig.guard(at - GUARD, GUARD);
    bytes.set(packet.subarray(0, length), at);
    mutateHeaders(random, bytes, at, length);
    this.#rig.guard(at + length, GUARD);
    const header = kernel.superHeader(at, length);
    assert.ok(header <= length, what);
    let isJoined = false;
    const isPiece = random.uint32() & 1;
    if (header > 0 && header < length) isJoined = this.#cut(at, length, header, isPiece, what);
    else this.#receive(at, length, what);
    kernel.finishChecksum(at, length, random.uint32() & 0xff, random.uint32() & 0x1f);
    kernel.piece(at, length);
    const isIntact = this.#rig.isIntact(at - GUARD, GUARD - VNET_BYTES) &&
      this.#rig.isIntact(at + length, GUARD);
    assert.ok(isIntact, what);
    return isJoined;
  }

  #cut(at: number, length: number, header: number, isPiece: number, what: string): boolean {
    const { bytes, kernel } = this.#rig;
    const size = 1 + this.#random.uint32() % 2000;
    const stride = header + size + 32;
    const total = Math.ceil((length - header) / size);
    const count = Math.min(total, Math.floor(60_000 / stride));
    const first = count < total ? this.#random.uint32() % (total - count) : 0;
    const end = this.#out + count * stride;
    this.#rig.guard(this.#out - GUARD, GUARD);
    this.#rig.guard(end, GUARD);
    kernel.segment(at, length, header, size, this.#out, stride, first, count, isPiece);
    assert.ok(this.#rig.isIntact(this.#out - GUARD, GUARD) && this.#rig.isIntact(end, GUARD), what);
    let hasJoined = false;
    for (let i = 0; i < count; i++) {
      const segment = this.#out + i * stride;
      const bytesOf = header + Math.min(size, length - header - (first + i) * size);
      if (isPiece) bytes[segment] = bytes[segment]! & ~PIECE;
      else if (i === 0) {
        assert.ok(hasRightChecksums(bytes.slice(segment, segment + bytesOf)), what);
      }
      const fit = kernel.join(segment, bytesOf, isPiece, 1, 1);
      if (fit === JOIN.joined) hasJoined = true;
      else {
        kernel.finish();
        if (fit === JOIN.starts) kernel.start(segment, bytesOf, isPiece);
      }
    }
    kernel.finish();
    assert.ok(this.#rig.isIntact(end, GUARD), what);
    return hasJoined;
  }

  /** A malformed packet, as a peer could send it inside the tunnel. */
  #receive(at: number, length: number, what: string): void {
    const { kernel } = this.#rig;
    const isPiece = this.#random.uint32() & 1;
    const fit = kernel.join(at, length, isPiece, 1, 1);
    assert.ok(fit === JOIN.alone || fit === JOIN.refused || fit === JOIN.starts, what);
    kernel.finish();
    if (fit === JOIN.starts) {
      kernel.start(at, length, isPiece);
      kernel.finish();
    }
  }
}

function sealed(random: SeededRandom, key: AeadKey, i: number): Sealed {
  const plain = random.bytes(i < 60 ? random.uint32() % 200 : 1420);
  const counter = random.uint32() * 2 ** (i % 20);
  const bytes = new Uint8Array(plain.length + TAG);
  bytes.set(plain);
  key.seal(bytes, 0, plain.length, counter);
  return { counter, plain, bytes };
}

/** The length itself, or one time in eight a shorter one. */
function mutatedLength(random: SeededRandom, length: number): number {
  return random.uint32() % 8 === 0 ? random.uint32() % (length + 1) : length;
}

/** Flips up to three bits, seven times in eight; returns whether anything differs. */
function mutate(random: SeededRandom, bytes: Uint8Array, at: number, length: number): boolean {
  const flips = random.uint32() % 8 === 0 || length === 0 ? 0 : 1 + random.uint32() % 3;
  const before = new Map<number, number>();
  for (let n = 0; n < flips; n++) {
    const i = at + random.uint32() % length;
    if (!before.has(i)) before.set(i, bytes[i]!);
    bytes[i]! ^= 1 << (random.uint32() & 7);
  }
  return [...before].some(([i, byte]) => bytes[i] !== byte);
}

/** Sets up to four of the first 64 bytes to anything. */
function mutateHeaders(random: SeededRandom, bytes: Uint8Array, at: number, length: number): void {
  if (length === 0) return;
  for (let n = random.uint32() % 5; n > 0; n--) {
    bytes[at + random.uint32() % Math.min(length, 64)] = random.uint32() & 0xff;
  }
}
