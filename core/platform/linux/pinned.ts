/**
 * Memory with a known address, for structures that hold pointers.
 * @module
 */

/** A range of bytes and its place in the address space. */
export class PinnedMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly words: Uint32Array;
  readonly pointer: Deno.PointerObject;
  /** Below 2^48, so exact as a number. */
  readonly address: number;

  /** Over all of `buffer`, which is fresh memory when a number of bytes is given. */
  constructor(buffer: ArrayBuffer | SharedArrayBuffer | number) {
    const memory = typeof buffer === "number" ? new ArrayBuffer(buffer) : buffer;
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.words = new Uint32Array(memory);
    this.pointer = Deno.UnsafePointer.of(this.bytes as Uint8Array<ArrayBuffer>)!;
    this.address = Number(Deno.UnsafePointer.value(this.pointer));
  }

  /** A pointer to byte `at`; take it once, not per call. */
  at(at: number): Deno.PointerObject {
    return Deno.UnsafePointer.offset(this.pointer, at)!;
  }

  /** Writes a 64-bit address at byte `at`, a multiple of 4. */
  writeAddress(at: number, address: number): void {
    this.words[at >> 2] = address >>> 0;
    this.words[(at >> 2) + 1] = Math.floor(address / 2 ** 32);
  }
}
