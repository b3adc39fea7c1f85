/**
 * The one memory of the data plane: shared state first, then what each packet worker works in.
 *
 * It is WebAssembly memory, so that the packet kernel reaches all of it. Only pages that are used
 * become real.
 *
 * ```
 * 0          shared state (layout.ts)
 * then, for each pair of workers:
 *   tx       scratch | cipher row | packets being sealed
 *   rx       scratch | cipher row | received trains
 * ```
 * @module
 */
import { AEAD_BYTES } from "../kernel/aead.ts";
import { SCRATCH_BYTES } from "../kernel/kernel.ts";
import { SHARED_BYTES } from "./layout.ts";

const PAGE = 65_536;
const SCRATCH = pages(SCRATCH_BYTES);
const CIPHER = pages(AEAD_BYTES);

/** Largest packet of a TUN with its vnet header, and what may stand around it. */
export const SUPER_PACKET = 65_536 + 64;
/** A batch of sealed datagrams may fill this much before it is sent. */
export const TX_BATCH_BYTES = 2 * PAGE;
/** One super-packet as read, and cut into datagrams of 28 bytes of payload. */
const TX_PACKETS = TX_BATCH_BYTES + 8 * PAGE;

/** Received messages of one batch, each up to 64 KiB when the kernel joined datagrams. */
export const RX_TRAINS = 16;
export const TRAIN_BYTES = PAGE;

const PAIRS_AT = pages(SHARED_BYTES);
const TX_SIZE = SCRATCH + CIPHER + TX_PACKETS;
const RX_SIZE = SCRATCH + CIPHER + RX_TRAINS * TRAIN_BYTES;

/** Where a worker's parts begin, in bytes from the start of the memory. */
export interface WorkerMemory {
  readonly scratch: number;
  readonly cipher: number;
  readonly packets: number;
  readonly end: number;
}

/** The memory of the worker that seals in the pair with that number. */
export function txMemory(pair: number): WorkerMemory {
  return partsAt(PAIRS_AT + pair * (TX_SIZE + RX_SIZE), TX_SIZE);
}

/** The memory of the worker that opens in the pair with that number. */
export function rxMemory(pair: number): WorkerMemory {
  return partsAt(PAIRS_AT + pair * (TX_SIZE + RX_SIZE) + TX_SIZE, RX_SIZE);
}

/** Makes the memory of a node with so many pairs of workers. */
export function createMemory(pairs: number): WebAssembly.Memory {
  const count = (PAIRS_AT + pairs * (TX_SIZE + RX_SIZE)) / PAGE;
  return new WebAssembly.Memory({ initial: count, maximum: count, shared: true });
}

function partsAt(at: number, size: number): WorkerMemory {
  return { scratch: at, cipher: at + SCRATCH, packets: at + SCRATCH + CIPHER, end: at + size };
}

/** `size` in whole pages, in bytes. */
function pages(size: number): number {
  return Math.ceil(size / PAGE) * PAGE;
}
