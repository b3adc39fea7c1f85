/**
 * The packet kernel: what the packet workers do to bytes, in SIMD WebAssembly.
 *
 * AssemblyScript, not TypeScript: `deno task build:kernel` compiles this folder to
 * `build/kernel.wasm`; the TypeScript side of every function here is in `../kernel.ts`. There is no
 * allocation and no static data: all memory is the caller's, given by byte offset, and each instance
 * is told once where its scratch memory lies.
 * @module
 */
export { aeadOpen, aeadSeal, openBatch, sealBatch } from "./aead";
export { internetChecksum } from "./checksum";
export { finish, join, runHeader, start } from "./join";
export { setScratch } from "./scratch";
export { finishChecksum, piece, segment, superHeader } from "./segment";
