/**
 * Makes the whole program two JavaScript files: `app.js`, and `worker.js` for the packet workers.
 *
 * `deno bundle` does not follow `new Worker(...)`, hence the second file; `core/daemon/worker_url.ts`
 * finds it beside the first.
 * @module
 */
import { runDeno } from "./process.ts";

/** What `deno bundle` starts from. */
export interface Entries {
  readonly app: string;
  readonly worker: string;
}

/** Paths from the repository's root. */
export const ENTRIES: Entries = { app: "main.ts", worker: "core/daemon/worker.ts" };

/** A file of the bundled program. */
export interface BundledFile {
  readonly name: "app.js" | "worker.js";
  readonly text: string;
}

/** CommonJS packages ask for these two, which modules do not have. */
const BANNER =
  'const __filename = import.meta.filename ?? "", __dirname = import.meta.dirname ?? "";\n';

/**
 * Bundles the program; the same sources give the same bytes on every machine.
 * @throws {Error} with the bundler's words when it fails.
 */
export async function bundle(entries: Entries = ENTRIES): Promise<BundledFile[]> {
  return [
    { name: "app.js", text: await bundleOne(entries.app) },
    { name: "worker.js", text: await bundleOne(entries.worker) },
  ];
}

async function bundleOne(entry: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "tunnelmesh-bundle-" });
  try {
    const file = `${folder}/out.js`;
    const { code, output } = await runDeno(
      // Native addons of ssh2 are optional and never load here.
      ["bundle", "--quiet", "--external", "*.node", "--output", file, entry],
      { isQuiet: true, limitMs: 120_000 },
    );
    if (code !== 0) throw new Error(`Cannot bundle ${entry}: ${output.trim()}`);
    return BANNER + withoutMachinePaths(await Deno.readTextFile(file));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The bundler names each package's place in this machine's cache, in comments and as keys. */
function withoutMachinePaths(text: string): string {
  return text.replace(/^(\/\/ |\s*")[^"\n]*\/npm\/[^/"\n]+\//gm, "$1npm/");
}
