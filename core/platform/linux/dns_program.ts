/**
 * How are the system's own programs found and run for the resolver's settings?
 *
 * By absolute path (the caller's PATH first, then the usual folders, as root's PATH may lack the
 * `sbin` ones), without a shell, with a time limit, in the C locale.
 * @module
 */
import { dirname } from "node:path";
import { errorMessage, MeshError } from "../../errors.ts";

/** Where programs of the system are, whatever PATH says. */
export const PROGRAM_FOLDERS = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
];
const TIMEOUT_MS = 5_000;

/** How a program ended. */
export interface ProgramResult {
  /** 0 for success; 124 when it was ended because it took too long. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * The absolute path of a program, or null.
 * @param path Folders to search first, joined by colons; the PATH variable when not given.
 */
export async function findProgram(name: string, path?: string): Promise<string | null> {
  for (const folder of [...(path ?? searchPath()).split(":"), ...PROGRAM_FOLDERS]) {
    if (!folder.startsWith("/")) continue;
    const file = `${folder}/${name}`;
    const stat = await Deno.stat(file).catch(() => null);
    if (stat?.isFile && ((stat.mode ?? 0) & 0o111) !== 0) return file;
  }
  return null;
}

/**
 * Runs a program to its end; never throws for what it did.
 * @throws {MeshError} `system` when it cannot be started.
 */
export async function runProgram(
  file: string,
  args: readonly string[],
  timeoutMs = TIMEOUT_MS,
): Promise<ProgramResult> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const output = await new Deno.Command(file, {
      args: [...args],
      env: { LC_ALL: "C", SYSTEMD_PAGER: "", SYSTEMD_COLORS: "0" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal,
    }).output();
    const decoder = new TextDecoder();
    return {
      code: signal.aborted && !output.success ? 124 : output.code,
      stdout: decoder.decode(output.stdout),
      stderr: decoder.decode(output.stderr),
    };
  } catch (error) {
    throw new MeshError("system", `Cannot run ${file}: ${errorMessage(error)}`, { cause: error });
  }
}

/** Finds and runs a program; null when it is missing, cannot start or fails. */
export async function outputOf(
  name: string,
  args: readonly string[],
  path?: string,
): Promise<string | null> {
  const file = await findProgram(name, path);
  if (file === null) return null;
  const result = await runProgram(file, args).catch(() => null);
  return result?.code === 0 ? result.stdout : null;
}

/**
 * Text of a file under /proc, or null. Deno reads those for nobody but a process with all
 * permissions; `cat` shares this process's namespaces, so it sees the same.
 */
export async function readProc(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
  }
  return await outputOf("cat", [path]);
}

/** Ancestors to look at where the first process may not be looked at. */
const MAX_ANCESTORS = 8;

/**
 * Whether a path is the one that the machine itself sees while this process is in another network
 * namespace: what it says is about that other network, and writing to it would change that. The
 * machine is its first process, or, where that may not be looked at, the nearest ancestor in
 * another network namespace.
 */
export async function belongsToOtherNetwork(path: string): Promise<boolean> {
  const isThere = await Deno.stat(path).then(() => true, () => false);
  const file = isThere ? path : dirname(path);
  let pid = 1;
  for (let i = 0; i <= MAX_ANCESTORS && pid !== 0; i++) {
    const root = `/proc/${pid}`;
    const paths = ["/proc/self/ns/net", `${root}/ns/net`, file, `${root}/root${file}`];
    const text = await outputOf("stat", ["-L", "-c", "%d:%i", ...paths]);
    const [ownNetwork, network, ownFile, otherFile] = text?.trim().split("\n") ?? [];
    const isSame = network === ownNetwork;
    if (text !== null && !isSame) return ownFile === otherFile;
    if (text !== null && pid === 1) return false;
    pid = i === 0 ? Deno.ppid : await parentOf(pid);
  }
  return false;
}

/** The parent of a process, 0 when it cannot be told. */
async function parentOf(pid: number): Promise<number> {
  const status = await readProc(`/proc/${pid}/status`);
  return Number(/^PPid:\s*(\d+)$/m.exec(status ?? "")?.[1] ?? 0);
}

function searchPath(): string {
  try {
    return Deno.env.get("PATH") ?? "";
  } catch {
    return "";
  }
}
