/**
 * How is /etc/resolv.conf replaced so that no reader sees half of it, and put back as it was?
 *
 * By a temporary file, fsync and rename, which also replaces a symbolic link without touching what
 * it points to. Where the file is a mount point (containers, `ip netns exec`) it cannot be renamed
 * over, and renaming over a link that leads to a mount point would change the file for every other
 * namespace: there it is written in place, new text first and then its length, so that it is never
 * empty.
 * @module
 */
import { dirname, isAbsolute, join } from "node:path";
import { errorMessage, MeshError } from "../../errors.ts";
import { findProgram, outputOf, readProc, runProgram } from "./dns_program.ts";

/** What stands at the path: enough to put it back. */
export type ResolvConfState =
  | { readonly kind: "missing" }
  | { readonly kind: "file"; readonly text: string }
  | { readonly kind: "symlink"; readonly target: string; readonly text: string };

const MODE = 0o644;
/** More is no resolv.conf. */
const MAX_BYTES = 1 << 20;

/** The file at `path`; where that is or leads to a mount point, the file mounted there. */
export class ResolvConfFile {
  readonly path: string;
  #mount: { readonly real: string; readonly isMount: boolean } | null = null;

  /** @param path Absolute. */
  constructor(path: string) {
    this.path = path;
  }

  /** Text of the file, or empty when there is none. Never throws. */
  async text(): Promise<string> {
    return textOf(await this.read());
  }

  /** Text of the file that a symbolic link at the path leads to, or null. */
  targetText(target: string): Promise<string | null> {
    return readText(isAbsolute(target) ? target : join(dirname(this.path), target));
  }

  /** What stands at the path. */
  async read(): Promise<ResolvConfState> {
    const text = await readText(this.path);
    const target = await Deno.readLink(this.path).catch(() => null);
    if (target !== null && await this.#mountPoint() === null) {
      return { kind: "symlink", target, text: text ?? "" };
    }
    return text === null ? { kind: "missing" } : { kind: "file", text };
  }

  /**
   * Puts a state at the path, durable when the promise resolves.
   * @throws {MeshError} `system` with what to do about it.
   */
  async write(state: ResolvConfState): Promise<void> {
    try {
      await this.#write(state);
    } catch (error) {
      throw await this.#explain(error);
    }
  }

  async #write(state: ResolvConfState): Promise<void> {
    const mounted = await this.#mountPoint();
    if (mounted !== null) return await writeInPlace(mounted, textOf(state));
    if (state.kind === "missing") {
      return await Deno.remove(this.path).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
    }
    try {
      await replaceFile(this.path, state);
    } catch (error) {
      // A mount that mountinfo does not show, or a folder that is read-only around a writable file.
      if (state.kind !== "file" || !isRenameRefusal(error)) throw error;
      await writeInPlace(this.path, state.text).catch(() => {
        throw error;
      });
    }
  }

  /** The mount point that the path is or leads to, or null. */
  async #mountPoint(): Promise<string | null> {
    const real = await Deno.realPath(this.path).catch(() => null);
    if (real === null) return null;
    if (this.#mount?.real !== real) this.#mount = { real, isMount: await isMountPoint(real) };
    return this.#mount.isMount ? real : null;
  }

  async #explain(error: unknown): Promise<MeshError> {
    const isImmutable = await hasImmutableFlag(this.path);
    const message = `Cannot write ${this.path}: ${errorMessage(error)}`;
    const hint = isImmutable
      ? `It is marked immutable; allow changes with: chattr -i ${this.path}`
      : error instanceof Deno.errors.PermissionDenied
      ? "Run as root"
      : null;
    return new MeshError("system", message, { cause: error, ...(hint === null ? {} : { hint }) });
  }
}

/** Whether the file carries the flag that `chattr +i` sets. */
export async function hasImmutableFlag(path: string): Promise<boolean> {
  const text = await outputOf("lsattr", ["-d", path]);
  return text !== null && /^\S*i\S*\s/.test(text);
}

/** The text that a reader of the file gets. */
export function textOf(state: ResolvConfState): string {
  return state.kind === "missing" ? "" : state.text;
}

/** Replaces a file by rename, durable when the promise resolves. */
export async function replaceFile(
  path: string,
  state: Exclude<ResolvConfState, { kind: "missing" }>,
  mode = MODE,
): Promise<void> {
  const suffix = crypto.getRandomValues(new Uint8Array(8)).toHex();
  const temporary = join(dirname(path), `.resolv.conf.${suffix}.tmp`);
  try {
    if (state.kind === "symlink") await makeLink(state.target, temporary);
    else await writeNew(temporary, state.text, mode);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  using directory = await Deno.open(dirname(path), { read: true });
  await directory.sync();
}

/** `Deno.symlink()` asks for the right to read and write everywhere, which a node has given up. */
async function makeLink(target: string, path: string): Promise<void> {
  const program = await findProgram("ln");
  if (program === null) throw new Error(`Cannot link ${path}: there is no program ln`);
  const { code, stderr } = await runProgram(program, ["-s", "--", target, path]);
  if (code !== 0) throw new Error(`Cannot link ${path}: ${stderr.trim()}`);
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true, mode });
  await Deno.chmod(path, mode);
  await writeAll(file, text);
  await file.sync();
}

async function writeInPlace(path: string, text: string): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await writeAll(file, text);
  await file.truncate(new TextEncoder().encode(text).length);
  await file.sync();
}

async function writeAll(file: Deno.FsFile, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

/** Text of a file that can be read and has a sensible size, else null. */
export async function readText(path: string): Promise<string | null> {
  try {
    const { size } = await Deno.stat(path);
    return size > MAX_BYTES ? null : await Deno.readTextFile(path);
  } catch {
    return null;
  }
}

function isRenameRefusal(error: unknown): boolean {
  return error instanceof Deno.errors.Busy || error instanceof Deno.errors.PermissionDenied ||
    /EXDEV|EROFS|os error (16|18|30)|Read-only file|Permission denied|not permitted/.test(
      errorMessage(error),
    );
}

async function isMountPoint(path: string): Promise<boolean> {
  const mounts = await readProc("/proc/self/mountinfo");
  return mounts?.split("\n").some((line) => unescape(line.split(" ")[4] ?? "") === path) ?? false;
}

/** mountinfo writes space, tab, newline and backslash as octal (proc(5)). */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
}
