/**
 * Where the packet kernel's code comes from: `deno task build:kernel` makes it, and the bundler
 * carries it into the single-file forms.
 * @module
 */
import { errorMessage, MeshError } from "../errors.ts";

/**
 * Loads the code of the packet kernel.
 *
 * @throws {MeshError} `unsupported` when it was not built.
 */
export async function loadKernelCode(): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const code = await import("../../build/kernel.wasm", { with: { type: "bytes" } });
    return code.default;
  } catch (error) {
    const reason = errorMessage(error);
    throw new MeshError("unsupported", `Cannot load the packet kernel: ${reason}`, {
      hint: "Build it with: deno task build:kernel",
    });
  }
}
