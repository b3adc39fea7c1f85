/**
 * How fast are messages sealed and opened by each implementation of ChaCha20-Poly1305: the packet
 * kernel, the system's OpenSSL, and the portable reference?
 *
 * Usage: deno task bench:aead [--json]
 * @module
 */
import { parseArgs } from "node:util";
import { type Aead, nobleAead, TAG } from "../core/dataplane/aead.ts";
import { ROW_BYTES } from "../core/kernel/kernel.ts";
import { openLibcrypto } from "../core/platform/linux/libcrypto.ts";
import { KernelRig } from "../tests/kernel_rig.ts";

const LENGTHS = [64, 576, 1420, 8192];
/** Messages of a batch, as many as the packet path has at a time. */
const MESSAGES = 32;
/** From one message to the next, a multiple of the cache line as in the packet path. */
const STRIDE = 8192 + 64;
/** How long one implementation is measured at one length; the best batch counts. */
const MEASURE_MS = 300;
/** Batches before that, after which V8 has optimised everything. */
const WARM_UP = 200;

/** Seals and opens the same batch in turn. */
interface Subject {
  readonly name: string;
  seal(length: number): void;
  open(length: number): void;
}

interface Row {
  readonly bytes: number;
  readonly direction: "seal" | "open";
  /** MB/s by implementation. */
  readonly rates: Readonly<Record<string, number>>;
}

/** The kernel over whole batches. */
function kernelSubject(): Subject {
  const rig = new KernelRig(2 ** 20);
  const { kernel, bytes, free: key } = rig;
  const rows = key + 64;
  const messages = rows + 1024;
  const words = new Uint32Array(bytes.buffer, rows, MESSAGES * ROW_BYTES / 4);
  const fill = (length: number) => {
    for (let i = 0; i < MESSAGES; i++) words.set([messages + i * STRIDE, length, i, 0, 0], 5 * i);
  };
  return {
    name: "wasm",
    seal(length) {
      fill(length);
      kernel.sealBatch(rows, MESSAGES, key);
    },
    open(length) {
      fill(length + TAG);
      const opened = kernel.openBatch(rows, MESSAGES, key);
      if (opened !== MESSAGES) throw new Error("Cannot open what was sealed");
    },
  };
}

/** An implementation that takes one message a call. */
function messageSubject(aead: Aead): Subject {
  const bytes = new Uint8Array(MESSAGES * STRIDE);
  const [sealing, opening] = [aead.key(new Uint8Array(32)), aead.key(new Uint8Array(32))];
  return {
    name: aead.name,
    seal(length) {
      for (let i = 0; i < MESSAGES; i++) sealing.seal(bytes, i * STRIDE, length, i);
    },
    open(length) {
      for (let i = 0; i < MESSAGES; i++) {
        const isOpen = opening.open(bytes, i * STRIDE, length + TAG, i);
        if (!isOpen) throw new Error("Cannot open what was sealed");
      }
    },
  };
}

/** Best MB/s of sealing and of opening. */
function measure(subject: Subject, length: number): { seal: number; open: number } {
  for (let i = 0; i < WARM_UP; i++) {
    subject.seal(length);
    subject.open(length);
  }
  let [seal, open] = [Infinity, Infinity];
  const end = performance.now() + MEASURE_MS;
  while (performance.now() < end) {
    const start = performance.now();
    subject.seal(length);
    const middle = performance.now();
    subject.open(length);
    seal = Math.min(seal, middle - start);
    open = Math.min(open, performance.now() - middle);
  }
  const rate = (ms: number) => Math.round(MESSAGES * length / ms / 1_000);
  return { seal: rate(seal), open: rate(open) };
}

function main(): void {
  const { values } = parseArgs({ args: Deno.args, options: { json: { type: "boolean" } } });
  const libcrypto = openLibcrypto();
  const subjects = [
    kernelSubject(),
    ...libcrypto ? [messageSubject(libcrypto)] : [],
    messageSubject(nobleAead),
  ];
  const rows = LENGTHS.flatMap((bytes): Row[] => {
    const measured = subjects.map((subject) => [subject.name, measure(subject, bytes)] as const);
    return (["seal", "open"] as const).map((direction) => ({
      bytes,
      direction,
      rates: Object.fromEntries(measured.map(([name, rate]) => [name, rate[direction]])),
    }));
  });
  if (values.json) {
    console.log(JSON.stringify({ unit: "MB/s", rows }));
    return;
  }
  console.log(`MB/s, best of the batches of ${MESSAGES} messages in ${MEASURE_MS} ms`);
  console.table(rows.map(({ bytes, direction, rates }) => ({
    bytes,
    direction,
    ...rates,
    "wasm / noble": Math.round(10 * rates.wasm! / rates.noble!) / 10,
  })));
}

if (import.meta.main) main();
