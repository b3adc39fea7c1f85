/**
 * Writes received packets to the TUN, neighbours of one stream as one super-packet.
 * @module
 */
import type { SharedState } from "../../dataplane/layout.ts";
import { DROPS } from "../../drops.ts";
import { JOIN, type Kernel, VNET_BYTES } from "../../kernel/kernel.ts";
import { libc } from "./libc.ts";
import { IOVEC } from "./messages.ts";
import { PinnedMemory } from "./pinned.ts";

/** Parts of one super-packet; the kernel's `join` never makes more. */
const PARTS = 64;
const DROP_MALFORMED = DROPS.indexOf("malformed");
const DROP_SEND = DROPS.indexOf("send-failed");

/** What a writer works with. */
export interface TunWriterOptions {
  readonly shared: SharedState;
  /** Whose drops are counted. */
  readonly worker: number;
  readonly kernel: Kernel;
  /** The kernel's memory, where packets lie. */
  readonly memory: PinnedMemory;
  readonly tunFd: number;
  readonly mayJoinTcp: boolean;
  readonly mayJoinUdp: boolean;
}

/** Gathers packets where they lie; {@link flush} must precede any change to them. */
export class TunWriter {
  readonly #options: TunWriterOptions;
  readonly #vector = new PinnedMemory(PARTS * IOVEC);
  #parts = 0;

  constructor(options: TunWriterOptions) {
    this.#options = options;
  }

  /** Writes the packet at `at` now or together with those that follow. */
  write(at: number, length: number, isPiece: boolean): void {
    const { kernel, shared, worker, mayJoinTcp, mayJoinUdp } = this.#options;
    const piece = isPiece ? 1 : 0;
    const fit = kernel.join(at, length, piece, mayJoinTcp ? 1 : 0, mayJoinUdp ? 1 : 0);
    if (fit === JOIN.joined) {
      const header = kernel.runHeader();
      return this.#add(at + header, length - header);
    }
    if (fit === JOIN.refused) return shared.drop(worker, DROP_MALFORMED);
    this.flush();
    this.#add(at - VNET_BYTES, length + VNET_BYTES);
    if (fit === JOIN.starts) kernel.start(at, length, piece);
    else this.#submit();
  }

  /** Writes what was gathered. */
  flush(): void {
    if (this.#parts === 0) return;
    this.#options.kernel.finish();
    this.#submit();
  }

  #add(at: number, length: number): void {
    const offset = this.#parts++ * IOVEC;
    this.#vector.writeAddress(offset, this.#options.memory.address + at);
    this.#vector.words[(offset >> 2) + 2] = length;
  }

  #submit(): void {
    const { shared, worker, tunFd } = this.#options;
    if (libc().symbols.writev(tunFd, this.#vector.pointer, this.#parts) < 0) {
      shared.drop(worker, DROP_SEND);
    }
    this.#parts = 0;
  }
}
