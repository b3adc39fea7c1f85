/**
 * Compiles the packet kernel: `deno task build:kernel` writes `build/kernel.wasm` out of the
 * AssemblyScript in `core/kernel/assembly/`.
 *
 * Tasks that run the program depend on it; it returns at once when nothing changed.
 * @module
 */
import { createHash } from "node:crypto";
import asc from "assemblyscript/asc";

const ROOT = new URL("../", import.meta.url);
const SOURCES = new URL("core/kernel/assembly/", ROOT);
const FOLDER = new URL("build/", ROOT);
const OUTPUT = new URL("kernel.wasm", FOLDER);
/** What the output was made of. */
const STAMP = new URL("kernel.stamp", FOLDER);

/** Pages of 64 KiB that the memory may have: all that a 32-bit address reaches. */
const MAX_PAGES = 65_536;
const OPTIONS = [
  ..."-O3 --noAssert --runtime stub --noColors".split(" "),
  ..."--enable simd --enable threads --enable bulk-memory".split(" "),
  ..."--importMemory --sharedMemory --initialMemory 1".split(" "),
  ...["--maximumMemory", String(MAX_PAGES)],
];

/** Compiles the kernel unless it is up to date. Returns where the WebAssembly file is. */
export async function buildKernel(): Promise<URL> {
  const sources = await readSources();
  const stamp = createHash("sha256").update(JSON.stringify([asc.version, OPTIONS, sources]))
    .digest("hex");
  if (await readOrNull(STAMP) === stamp && await exists(OUTPUT)) return OUTPUT;

  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(["index.ts", "--outFile", "kernel.wasm", ...OPTIONS], {
    readFile: (name) => sources[name] ?? null,
    writeFile: (_name, content) => {
      if (typeof content !== "string") binary = content;
    },
    listFiles: () => [],
  });
  if (error || !binary) throw new Error(`Cannot compile the packet kernel:\n${stderr}`);
  await Deno.mkdir(FOLDER, { recursive: true });
  await writeByRename(OUTPUT, binary);
  await writeByRename(STAMP, new TextEncoder().encode(stamp));
  return OUTPUT;
}

async function readSources(): Promise<Record<string, string>> {
  const sources: Record<string, string> = {};
  for await (const { name } of Deno.readDir(SOURCES)) {
    sources[name] = await Deno.readTextFile(new URL(name, SOURCES));
  }
  return Object.fromEntries(Object.entries(sources).sort());
}

/** Another build at the same time must not read half a file. */
async function writeByRename(url: URL, bytes: Uint8Array): Promise<void> {
  const temporary = new URL(`${url.href}.${Deno.pid}`);
  await Deno.writeFile(temporary, bytes);
  await Deno.rename(temporary, url);
}

async function readOrNull(url: URL): Promise<string | null> {
  return await Deno.readTextFile(url).catch(() => null);
}

async function exists(url: URL): Promise<boolean> {
  return await Deno.stat(url).then(() => true, () => false);
}

// Standard output belongs to the task that depends on this one.
if (import.meta.main) console.error(`packet kernel: ${(await buildKernel()).pathname}`);
