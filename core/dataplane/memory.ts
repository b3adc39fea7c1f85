/**
 * The one memory of the data plane: shared state first, then what each packet worker works in.
 *
 * It is WebAssembly memory, so that the packet kernel reaches all of it. Only pages that are used
 * become real.
 *
 * ```
 * 0          shared state (layout.ts)
 * TX.at      scratch | cipher row | packets being sealed
 * RX.at      scratch | cipher row | received trains
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

const TX_AT = pages(SHARED_BYTES);
const TX_SIZE = SCRATCH + CIPHER + TX_PACKETS;
const RX_AT = TX_AT + TX_SIZE;
const RX_SIZE = SCRATCH + CIPHER + RX_TRAINS * TRAIN_BYTES;

/** Where a worker's parts begin, in bytes from the start of the memory. */
export interface WorkerMemory {
  readonly scratch: number;
  readonly cipher: number;
  readonly packets: number;
  readonly end: number;
}

/** The memory of the worker that seals. */
export const TX_MEMORY: WorkerMemory = {
  scratch: TX_AT,
  cipher: TX_AT + SCRATCH,
  packets: TX_AT + SCRATCH + CIPHER,
  end: TX_AT + TX_SIZE,
};

/** The memory of the worker that opens. */
export const RX_MEMORY: WorkerMemory = {
  scratch: RX_AT,
  cipher: RX_AT + SCRATCH,
  packets: RX_AT + SCRATCH + CIPHER,
  end: RX_AT + RX_SIZE,
};

/** Makes the memory of one node. */
export function createMemory(): WebAssembly.Memory {
  const count = (RX_AT + RX_SIZE) / PAGE;
  return new WebAssembly.Memory({ initial: count, maximum: count, shared: true });
}

/** `size` in whole pages, in bytes. */
function pages(size: number): number {
  return Math.ceil(size / PAGE) * PAGE;
}
