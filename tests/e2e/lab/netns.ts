/**
 * A Linux network namespace that stands for one machine: own interfaces, and own /etc, /run,
 * /var/lib and home directory, so that what a program changes there stays there.
 *
 * The files are plain directories bind-mounted in a private mount namespace for every command, so
 * tests can read them from outside, and /etc/resolv.conf can be replaced by rename as on a real
 * machine. Nothing of the host's own network, resolver or sockets can be reached from inside.
 * @module
 */
import { statfsSync } from "node:fs";
import { isAlive, must, type Output, Process, run, type RunOptions, signalPid } from "./process.ts";
import { WIDE_FLAGS } from "../../../cli/permissions.ts";
import { isInstalled } from "../../../scripts/system_packages.ts";

/** The repository's root directory. */
export const ROOT = new URL("../../../", import.meta.url).pathname.replace(/\/$/, "");

/** `tm<pid>-<four hex digits>-<label>`: the pid tells leftovers of a dead test run. */
const NAME = /^tm(\d+)-[0-9a-f]{4}-/;

const ROOT_OF_FILES = "/tmp";
/** In memory, where a copy of /etc costs next to nothing. Deno lets programs read nothing there. */
const ROOT_OF_ETC = "/dev/shm";
/** Free memory from which on {@link ROOT_OF_ETC} is used: dozens of machines. */
const MIN_FREE_BYTES = 300e6;

/** Mounts the machine's own files over the host's, then becomes the command. */
const ENTER = `
d=$1 lib=$2; shift 2
mount --bind "$d/etc" /etc && mount --bind "$d/run" /run && mount --bind "$d/lib" "$lib" || exit 125
if [ -e "$d/resolv.conf" ]; then mount --bind "$d/resolv.conf" /etc/resolv.conf || exit 125; fi
exec "$@"`;

/** How the machine's /etc/resolv.conf behaves. */
export interface NamespaceOptions {
  /** `mount`: a mount point, as in containers, which rename(2) refuses to replace. */
  readonly resolvConf?: "file" | "mount";
  /** The text it starts with. */
  readonly resolvConfText?: string;
}

/** One namespace; dispose of it to end everything that runs in it and remove it. */
export class Namespace implements AsyncDisposable {
  readonly name: string;
  readonly label: string;
  /** Where the machine's files are on the host: `etc`, `run`, `lib` (/var/lib), `home`. */
  readonly directory: string;
  readonly #resolvConf: string;

  private constructor(label: string, directory: string, name: string, resolvConf: string) {
    this.label = label;
    this.directory = directory;
    this.name = name;
    this.#resolvConf = resolvConf;
  }

  /** Creates a machine with a loopback interface and nothing else. */
  static create(label: string, options: NamespaceOptions = {}): Promise<Namespace> {
    if (isEnding) throw new Error("Cannot create a namespace: the process is ending");
    const creation = Namespace.#create(label, options).finally(() => creations.delete(creation));
    creations.add(creation);
    return creation;
  }

  static async #create(label: string, options: NamespaceOptions): Promise<Namespace> {
    await removeStale();
    const tag = crypto.getRandomValues(new Uint8Array(2)).toHex();
    const name = `tm${Deno.pid}-${tag}-${label}`;
    const directory = `${ROOT_OF_FILES}/${name}`;
    const isMount = options.resolvConf === "mount";
    const resolvConf = `${directory}/${isMount ? "resolv.conf" : "etc/resolv.conf"}`;
    for (const part of ["run/lock", "lib", "home"]) {
      await Deno.mkdir(`${directory}/${part}`, { recursive: true, mode: 0o755 });
    }
    await copyEtc(name);
    await Deno.remove(`${directory}/etc/resolv.conf`).catch(() => {});
    await Deno.writeTextFile(`${directory}/etc/resolv.conf`, options.resolvConfText ?? "");
    await Deno.writeTextFile(resolvConf, options.resolvConfText ?? "");
    await Deno.writeTextFile(`${directory}/etc/nsswitch.conf`, "passwd: files\nhosts: files dns\n");
    await Deno.writeTextFile(`${directory}/etc/hosts`, "127.0.0.1 localhost\n::1 localhost\n");
    await Deno.writeTextFile(`${directory}/etc/hostname`, `${label}\n`);
    await must(["ip", "netns", "add", name]);
    const namespace = new Namespace(label, directory, name, resolvConf);
    await must(["ip", "-n", name, "link", "set", "lo", "up"]);
    return namespace;
  }

  /** The command line that runs `command` on this machine. */
  commandLine(command: readonly string[]): string[] {
    const enter = ["/bin/sh", "-c", ENTER, "sh", this.directory, varLib()];
    return [ipProgram(), "netns", "exec", this.name, ...enter, ...command];
  }

  /** Runs a command on this machine to its end. */
  run(command: readonly string[], options: RunOptions = {}): Promise<Output> {
    return run(this.commandLine(command), this.#withHome(options));
  }

  /** Runs a command that has to succeed; returns its standard output. */
  must(command: readonly string[], options: RunOptions = {}): Promise<string> {
    return must(this.commandLine(command), this.#withHome(options));
  }

  /** Starts a command on this machine. */
  spawn(command: readonly string[], options: RunOptions = {}): Process {
    return new Process(this.commandLine(command), this.#withHome(options));
  }

  /** Starts a script of this repository with Deno on this machine. */
  deno(script: string, args: readonly string[] = [], options: RunOptions = {}): Process {
    return this.spawn(denoCommand(script, args), options);
  }

  /** Runs `ip` in this namespace. */
  ip(...args: string[]): Promise<string> {
    return must([ipProgram(), "-n", this.name, ...args]);
  }

  /** Changes and addresses of interfaces in one go; one `ip` command per line. */
  ipBatch(lines: readonly string[]): Promise<string> {
    return must([ipProgram(), "-n", this.name, "-batch", "-"], { input: lines.join("\n") + "\n" });
  }

  /** The text of a file of this machine, by its path there; null when it does not exist. */
  async readFile(path: string): Promise<string | null> {
    try {
      return await Deno.readTextFile(this.hostPath(path));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }

  /** Where a file under this machine's /etc, /run, /var/lib or home is on the host. */
  hostPath(path: string): string {
    if (path === "/etc/resolv.conf") return this.#resolvConf;
    const lib = varLib();
    if (path.startsWith(`${lib}/`)) return `${this.directory}/lib${path.slice(lib.length)}`;
    if (/^\/(etc|run)\//.test(path)) return `${this.directory}${path}`;
    if (path.startsWith("~/")) return `${this.directory}/home${path.slice(1)}`;
    return path;
  }

  /** Process ids of everything that runs in this namespace. */
  async pids(): Promise<number[]> {
    return (await must([ipProgram(), "netns", "pids", this.name])).split("\n").filter(Boolean)
      .map(Number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeNamespace(this.name);
  }

  #withHome(options: RunOptions): RunOptions {
    const home = { HOME: `${this.directory}/home`, DENO_DIR: denoDir(), TMPDIR: "/tmp" };
    return { cwd: ROOT, ...options, env: { ...home, ...options.env } };
  }
}

/** The command line that runs a script of this repository with the Deno that runs the tests. */
export function denoCommand(script: string, args: readonly string[] = []): string[] {
  // The program starts as its executables do, so that its limits hold here too.
  const flags = script === "main.ts" ? WIDE_FLAGS : ["-A"];
  const run = ["run", ...flags, "--no-prompt", "--cached-only", "--quiet"];
  return [Deno.execPath(), ...run, `${ROOT}/${script}`, ...args];
}

/** The directory of Deno's cache, which programs in a namespace share with the tests. */
function denoDir(): string {
  cachedDenoDir ??= Deno.env.get("DENO_DIR") ?? JSON.parse(
    new TextDecoder().decode(
      new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).outputSync().stdout,
    ),
  ).denoDir as string;
  return cachedDenoDir;
}
let cachedDenoDir: string | undefined;

/** /var/lib, or a directory below where hiding all of it would hide the tests' own files. */
function varLib(): string {
  const isNeeded = [ROOT, denoDir(), Deno.execPath()].some((path) => path.startsWith("/var/lib/"));
  if (!isNeeded) return "/var/lib";
  Deno.mkdirSync("/var/lib/tunnelmesh", { recursive: true });
  return "/var/lib/tunnelmesh";
}

function ipProgram(): string {
  return isInstalled("ip") && !(Deno.env.get("PATH") ?? "").includes("/sbin") ? "/sbin/ip" : "ip";
}

/** Gives a machine its own /etc, in memory where there is enough. */
async function copyEtc(name: string): Promise<void> {
  const etc = `${ROOT_OF_FILES}/${name}/etc`;
  if (!isMemoryFree()) return void await must(["cp", "-a", "/etc", etc]);
  await Deno.mkdir(`${ROOT_OF_ETC}/${name}`);
  await must(["cp", "-a", "/etc", `${ROOT_OF_ETC}/${name}/etc`]);
  await Deno.symlink(`${ROOT_OF_ETC}/${name}/etc`, etc);
}

function isMemoryFree(): boolean {
  // A link elsewhere, as some systems have it, could lead below what machines mount over.
  if (!isDirectory(ROOT_OF_ETC)) return false;
  const { bavail, bsize } = statfsSync(ROOT_OF_ETC);
  return bavail * bsize >= MIN_FREE_BYTES;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}

let isStaleRemoved = false;

/** Removes what test runs left that were killed before they could clean up. */
async function removeStale(): Promise<void> {
  if (isStaleRemoved) return;
  isStaleRemoved = true;
  await removeNamespacesOf((pid) => pid !== Deno.pid && !isAlive(pid));
}

let isEnding = false;
const creations = new Set<Promise<unknown>>();

/** Removes every namespace that this process has made, whoever holds it, and allows no more. */
export async function removeOwn(): Promise<void> {
  isEnding = true;
  await Promise.allSettled(creations);
  await removeNamespacesOf((pid) => pid === Deno.pid);
}

async function removeNamespacesOf(accept: (pid: number) => boolean): Promise<void> {
  const listed = (await run([ipProgram(), "netns", "list"])).stdout.split("\n")
    .map((line) => line.split(" ")[0]!);
  const left = [ROOT_OF_FILES, ROOT_OF_ETC].filter(isDirectory)
    .flatMap((root) => [...Deno.readDirSync(root)].map((entry) => entry.name));
  for (const name of new Set([...listed, ...left])) {
    const match = NAME.exec(name);
    if (match && accept(Number(match[1]))) await removeNamespace(name);
  }
}

/** Ends everything in a namespace by process id, removes it and its files. */
async function removeNamespace(name: string): Promise<void> {
  const pids = await run([ipProgram(), "netns", "pids", name]);
  for (const pid of pids.stdout.split("\n").filter(Boolean)) signalPid(Number(pid), "SIGKILL");
  await run([ipProgram(), "netns", "delete", name]);
  for (const root of [ROOT_OF_FILES, ROOT_OF_ETC]) {
    await Deno.remove(`${root}/${name}`, { recursive: true }).catch(() => {});
  }
}
