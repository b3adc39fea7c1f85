/**
 * The packet kernel with a small memory of its own, for tests.
 * @module
 */
import code from "../build/kernel.wasm" with { type: "bytes" };
import { kernelAead } from "../core/kernel/aead.ts";
import { instantiateKernel, type Kernel, SCRATCH_BYTES } from "../core/kernel/kernel.ts";
import type { Aead } from "../core/dataplane/aead.ts";

const PAGE = 65_536;
/** Scratch memory, the cipher's, and then what tests use. */
const CIPHER_AT = SCRATCH_BYTES;
const FREE_AT = SCRATCH_BYTES + 2 * PAGE;
/** What is written where nobody may write. */
const CANARY = 0xa5;

/** An instance of the kernel and its memory. */
export class KernelRig {
  readonly kernel: Kernel;
  readonly bytes: Uint8Array;
  readonly aead: Aead;
  /** First byte that tests may use. */
  readonly free = FREE_AT;

  /** @param size Bytes from {@link free} on. */
  constructor(size: number) {
    const pages = Math.ceil((FREE_AT + size) / PAGE);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.bytes = new Uint8Array(memory.buffer);
    this.kernel = instantiateKernel(code, memory);
    this.kernel.setScratch(0);
    this.aead = kernelAead(this.kernel, this.bytes, CIPHER_AT);
  }

  /** Fills a range with canaries. */
  guard(at: number, length: number): void {
    this.bytes.fill(CANARY, at, at + length);
  }

  /** Whether a guarded range is as it was. */
  isIntact(at: number, length: number): boolean {
    return this.bytes.subarray(at, at + length).every((byte) => byte === CANARY);
  }
}
