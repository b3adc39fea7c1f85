/**
 * The architecture as a table: which folder may know which, and what it may touch.
 *
 * `scripts/arch.ts` and `scripts/lint_plugin.ts` enforce it over every source file; tests, `scripts/`
 * and `main.ts` may import anything.
 * @module
 */

/** One folder of the product. A file belongs to the layer with the longest matching path. */
export interface Layer {
  readonly path: string;
  /** Layers it may import besides itself; `"*"` is all of them. */
  readonly imports: readonly string[];
  /** Layers of which it may only import types. */
  readonly types?: readonly string[];
  /** False: bytes to decisions only, no clock, entropy, timer, file or socket. */
  readonly io: boolean;
  /** Packages it may import, `node:` modules included; a trailing `*` is a prefix. */
  readonly npm: readonly string[];
}

const PURE_NPM = ["@noble/*", "zod"];

/** Top to bottom as in docs/architecture.md: a row imports only from rows above it. */
export const LAYERS: readonly Layer[] = [
  { path: "core", imports: [], io: false, npm: PURE_NPM },
  { path: "core/platform", imports: ["core"], io: true, npm: [...PURE_NPM, "node:*"] },
  {
    path: "core/daemon",
    imports: ["core", "core/platform"],
    io: true,
    npm: [...PURE_NPM, "node:*", "prom-client", "ssh2", "ws", "yaml"],
  },
  {
    path: "transports",
    imports: ["core", "core/platform"],
    io: true,
    npm: [...PURE_NPM, "node:*", "ws", "ssh2"],
  },
  { path: "storage/model", imports: ["core"], io: false, npm: PURE_NPM },
  { path: "storage", imports: ["core", "storage/model"], io: true, npm: [...PURE_NPM, "node:*"] },
  { path: "coordinator/model", imports: ["core"], io: false, npm: PURE_NPM },
  {
    path: "coordinator",
    imports: [
      "core",
      "core/platform",
      "coordinator/model",
      "storage",
      "storage/model",
      "transports",
    ],
    io: true,
    npm: [
      ...PURE_NPM,
      "node:*",
      "hono",
      "@hono/node-server",
      "@peculiar/x509",
      "reflect-metadata",
      "ws",
    ],
  },
  {
    path: "web",
    imports: ["core"],
    types: ["coordinator", "coordinator/model"],
    io: true,
    npm: PURE_NPM,
  },
  {
    path: "cli",
    imports: ["*"],
    io: true,
    npm: [...PURE_NPM, "node:*", "@clack/prompts", "yaml"],
  },
];

/** Packages that one folder inside a layer may use besides its layer's. */
export const EXTRA_NPM: readonly { readonly path: string; readonly npm: readonly string[] }[] = [
  { path: "core/dns", npm: ["dns-packet"] },
];

/** Longest file and function, in lines; what is longer does not fit in the head. */
export const MAX_FILE_LINES = 400;
export const MAX_FUNCTION_LINES = 60;

/** A file, or a function in it, that may be longer. The list is meant to shrink. */
export interface SizeException {
  readonly path: string;
  /** Name of the function; absent: the file's own length. */
  readonly function?: string;
  readonly lines: number;
  readonly reason: string;
}

/** Every exception to the size budgets. */
export const SIZE_EXCEPTIONS: readonly SizeException[] = [];

/** The layer of a path relative to the repository, or null for what stands outside the table. */
export function layerOf(path: string): Layer | null {
  const matching = LAYERS.filter((layer) => path.startsWith(layer.path + "/"));
  return matching.sort((a, b) => b.path.length - a.path.length)[0] ?? null;
}

/** Whether the table's rules for imports and ambient names hold for a file. */
export function isProductFile(path: string): boolean {
  return layerOf(path) !== null && !path.endsWith("_test.ts");
}

/** Whether a file may only turn bytes into decisions. */
export function isPure(path: string): boolean {
  return isProductFile(path) && layerOf(path)?.io === false;
}

/** Whether `importer`, a file in a layer, may import the package `name`. */
export function mayUsePackage(importer: string, name: string): boolean {
  const extra = EXTRA_NPM.filter((row) => importer.startsWith(row.path + "/"));
  const allowed = [...layerOf(importer)?.npm ?? [], ...extra.flatMap((row) => row.npm)];
  return allowed.some((entry) =>
    entry.endsWith("*") ? name.startsWith(entry.slice(0, -1)) : name === entry
  );
}

/** Whether a file of layer `from` may import from layer `to`. */
export function mayImport(from: Layer, to: Layer, isTypeOnly: boolean): boolean {
  if (from === to || from.imports.includes("*") || from.imports.includes(to.path)) return true;
  return isTypeOnly && (from.types ?? []).includes(to.path);
}
