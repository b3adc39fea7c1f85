/**
 * Makes the initial file system of the test's virtual machine: a cpio archive with busybox, kernel
 * modules in the order in which they load, and a few programs of this machine with their libraries.
 * @module
 */
import { must } from "../e2e/lab/process.ts";

/** What goes into the archive. */
export interface InitramfsOptions {
  /** Kernel release, e.g. `6.1.0-56-amd64`. */
  readonly release: string;
  /** Module names; their dependencies come along. What is built into the kernel is skipped. */
  readonly modules: readonly string[];
  /** Absolute paths of programs of this machine. */
  readonly programs: readonly string[];
  /** The text of /init. */
  readonly init: string;
}

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly data: Uint8Array;
}

const DIRECTORY_MODE = 0o040755;
const EXECUTABLE_MODE = 0o100755;
const FILE_MODE = 0o100644;

/** Builds the archive, uncompressed: the kernel takes it as it is. */
export async function buildInitramfs(options: InitramfsOptions): Promise<Uint8Array> {
  const filesByPath = new Map<string, Entry>();
  const add = (path: string, mode: number, data: Uint8Array) => {
    const parts = path.split("/");
    for (let i = 1; i < parts.length; i++) {
      const parent = parts.slice(0, i).join("/");
      filesByPath.set(parent, { path: parent, mode: DIRECTORY_MODE, data: new Uint8Array() });
    }
    filesByPath.set(path, { path, mode, data });
  };
  for (const path of ["proc", "sys", "dev", "tmp", "run", "etc"]) {
    add(path, DIRECTORY_MODE, new Uint8Array());
  }
  add("init", EXECUTABLE_MODE, new TextEncoder().encode(options.init));
  for (const program of options.programs) {
    add(program.slice(1), EXECUTABLE_MODE, await Deno.readFile(program));
    for (const library of await sharedLibraries(program)) {
      add(library.slice(1), EXECUTABLE_MODE, await Deno.readFile(library));
    }
  }
  let order = 0;
  for (const module of await modulesInOrder(options.release, options.modules)) {
    const name = `${`${order++}`.padStart(3, "0")}.ko`;
    add(`modules/${name}`, FILE_MODE, await readModule(module));
  }
  return formatCpio([...filesByPath.values()]);
}

/** Paths of module files, each after all that it depends on (modules.dep(5)). */
async function modulesInOrder(release: string, names: readonly string[]): Promise<string[]> {
  const root = `/lib/modules/${release}`;
  const nameOf = (path: string) => path.split("/").at(-1)!.split(".")[0]!.replaceAll("-", "_");
  const dependencies = new Map<string, { path: string; needs: string[] }>();
  for (const line of (await Deno.readTextFile(`${root}/modules.dep`)).trim().split("\n")) {
    const [path, needs] = line.split(":");
    dependencies.set(nameOf(path!), { path: path!, needs: needs!.trim().split(" ") });
  }
  const builtIn = new Set(
    (await Deno.readTextFile(`${root}/modules.builtin`)).trim().split("\n").map(nameOf),
  );
  const ordered = new Set<string>();
  for (const name of names) {
    const module = dependencies.get(name);
    if (!module && builtIn.has(name)) continue;
    if (!module) throw new Error(`Cannot find kernel module ${name} of ${release}`);
    // modules.dep lists the whole closure, what must load first last.
    for (const path of module.needs.toReversed()) if (path !== "") ordered.add(`${root}/${path}`);
    ordered.add(`${root}/${module.path}`);
  }
  return [...ordered];
}

async function readModule(path: string): Promise<Uint8Array> {
  const bytes = await Deno.readFile(path);
  const tool = path.endsWith(".xz") ? "xz" : path.endsWith(".zst") ? "zstd" : null;
  if (tool === null) return bytes;
  const { stdout } = await new Deno.Command(tool, { args: ["-dc", path], stderr: "inherit" })
    .output();
  return stdout;
}

async function sharedLibraries(program: string): Promise<string[]> {
  const listing = await must(["ldd", program]).catch(() => ""); // a static program has none
  return [...listing.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1]!);
}

/** The "newc" format (cpio(5)): 13 eight-digit hexadecimal fields, name and data padded to 4. */
export function formatCpio(entries: readonly Entry[]): Uint8Array {
  const trailer = { path: "TRAILER!!!", mode: 0, data: new Uint8Array() };
  const parts: Uint8Array[] = [];
  let length = 0;
  const push = (bytes: Uint8Array) => {
    const padding = new Uint8Array((4 - (length + bytes.length) % 4) % 4);
    parts.push(bytes, padding);
    length += bytes.length + padding.length;
  };
  [...entries, trailer].forEach(({ path, mode, data }, i) => {
    const fields = [i + 1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    const header = "070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    push(new TextEncoder().encode(`${header}${path}\0`));
    push(data);
  });
  const archive = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}
