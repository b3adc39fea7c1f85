/**
 * Does the source keep to the table in `scripts/layers.ts`?
 *
 * Checks what one file's syntax tree cannot tell: who imports whom, cycles, packages, a doc comment
 * at the top of each file, its length. `deno run --allow-read scripts/arch.ts` prints what is wrong.
 * @module
 */
import { isProductFile, layerOf, MAX_FILE_LINES, mayImport, mayUsePackage } from "./layers.ts";
import { SIZE_EXCEPTIONS } from "./layers.ts";

/** A source file: its path from the repository's root, with `/`, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** One `import`, `export ... from` or `import()` with a constant specifier. */
export interface Import {
  readonly specifier: string;
  readonly isTypeOnly: boolean;
  /** `import()`: happens when it is called, not when the module is loaded. */
  readonly isDynamic: boolean;
}

/** The packet kernel's sources, which the program knows by what they are compiled to. */
const KERNEL = "core/kernel/assembly/";
const SOURCE_FOLDERS = [
  "cli",
  "coordinator",
  "core",
  "scripts",
  "storage",
  "tests",
  "transports",
  "web",
];

/** Reads every TypeScript file of the repository at `root`. */
export function readSources(root: URL): SourceFile[] {
  const files: SourceFile[] = [];
  function walk(folder: string): void {
    for (const entry of Deno.readDirSync(new URL(folder, root))) {
      const path = folder + entry.name;
      if (entry.isDirectory) walk(path + "/");
      else if (/\.tsx?$/.test(entry.name)) {
        files.push({ path, text: Deno.readTextFileSync(new URL(path, root)) });
      }
    }
  }
  for (const folder of SOURCE_FOLDERS) {
    try {
      walk(folder + "/");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return files.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** Everything that is wrong with the architecture of `files`, one sentence each. */
export function violations(files: readonly SourceFile[]): string[] {
  return [...files.flatMap(fileViolations), ...cycles(files), ...staleExceptions(files)];
}

/** What is wrong with one file, as far as it can be told alone. */
export function fileViolations(file: SourceFile): string[] {
  const { path, text } = file;
  const found: string[] = [];
  // The names of its tests say what a test file is about.
  if (!path.endsWith("_test.ts") && !/^\/\*\*(?:(?!\*\/)[\s\S])*@module\s*\*\//.test(text)) {
    found.push(`${path}: must begin with a doc comment that ends in @module`);
  }
  const lines = text.trimEnd().split("\n").length;
  const exception = SIZE_EXCEPTIONS.find((each) => each.path === path && !each.function);
  const limit = exception?.lines ?? MAX_FILE_LINES;
  if (lines > limit) found.push(`${path}: has ${lines} lines, more than ${limit}`);
  if (isProductFile(path)) {
    for (const each of importsOf(text)) {
      const problem = importProblem(path, each);
      if (problem) found.push(`${path}: ${problem}`);
    }
  }
  return found;
}

/** The imports in a source, which `deno fmt` has written in its one way. */
export function importsOf(text: string): Import[] {
  const source = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const found: Import[] = [];
  for (const match of source.matchAll(/^(?:import|export)\b([^;"']*?)\bfrom "([^"]+)"/gm)) {
    found.push({ specifier: match[2]!, isTypeOnly: isTypeClause(match[1]!), isDynamic: false });
  }
  for (const match of source.matchAll(/^import "([^"]+)"/gm)) {
    found.push({ specifier: match[1]!, isTypeOnly: false, isDynamic: false });
  }
  for (const match of source.matchAll(/\bimport\(\s*"([^"]+)"/g)) {
    found.push({ specifier: match[1]!, isTypeOnly: false, isDynamic: true });
  }
  return found;
}

/**
 * Groups of files that import each other in a circle, one sentence each. A dynamic import does not
 * close a circle: it is how a list can name what reads the list.
 */
export function cycles(files: readonly SourceFile[]): string[] {
  const graph = new Map(files.map(({ path, text }) => [
    path,
    importsOf(text).filter((each) => each.specifier.startsWith(".") && !each.isDynamic)
      .map(({ specifier }) => resolve(path, specifier)),
  ]));
  const done = new Set<string>();
  const found: string[] = [];
  function visit(path: string, trail: readonly string[]): void {
    const at = trail.indexOf(path);
    if (at >= 0) {
      found.push(`Cycle: ${[...trail.slice(at), path].join(" -> ")}`);
      return;
    }
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  }
  for (const path of graph.keys()) visit(path, []);
  return found;
}

function importProblem(path: string, { specifier, isTypeOnly }: Import): string | null {
  if (/^(jsr|npm|https?):/.test(specifier)) {
    return `imports "${specifier}"; name packages in deno.json and import them by name`;
  }
  if (!specifier.startsWith(".")) {
    const name = packageName(specifier);
    if (mayUsePackage(path, name)) return null;
    return `${layerOf(path)!.path} may not use the package "${name}"`;
  }
  const target = resolve(path, specifier);
  // The packet kernel is AssemblyScript, which names its modules without extensions.
  if (path.startsWith(KERNEL) && target.startsWith(KERNEL)) return null;
  if (target === "build/kernel.wasm" && path.startsWith("core/daemon/")) return null;
  if (!/\.(tsx?|json)$/.test(target)) return `imports "${specifier}" without its extension`;
  // Facts about the whole program, as its version.
  if (target === "deno.json") return null;
  const to = layerOf(target);
  if (!to) return `imports ${target}, which is outside the product's layers`;
  if (mayImport(layerOf(path)!, to, isTypeOnly)) return null;
  const what = (layerOf(path)!.types ?? []).includes(to.path) ? "values from" : "from";
  return `${layerOf(path)!.path} may not import ${what} ${to.path} (${target})`;
}

function staleExceptions(files: readonly SourceFile[]): string[] {
  const paths = new Set(files.map((file) => file.path));
  return SIZE_EXCEPTIONS.filter((each) => !paths.has(each.path))
    .map((each) => `scripts/layers.ts: excepts ${each.path}, which does not exist`);
}

/** Whether `import <clause> from` brings in types alone. */
function isTypeClause(clause: string): boolean {
  if (/^\s*type\b/.test(clause)) return true;
  const named = /^\s*\{([^}]*)\}\s*$/.exec(clause);
  if (!named) return false;
  const names = named[1]!.split(",").map((name) => name.trim()).filter((name) => name !== "");
  return names.length > 0 && names.every((name) => name.startsWith("type "));
}

/** `a/b` of `a/b/c.js` and of `@a/b/c.js`; a `node:` module is its own name. */
function packageName(specifier: string): string {
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : parts[0]!;
}

function resolve(from: string, specifier: string): string {
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

if (import.meta.main) {
  const found = violations(readSources(new URL("..", import.meta.url)));
  for (const each of found) console.error(each);
  Deno.exit(found.length === 0 ? 0 : 1);
}
