/**
 * Tells the kernel about routes, rules, packet filters and settings for exits, by `ip`, `nft` and
 * /proc/sys.
 * @module
 */
import { errorMessage, MeshError } from "../../errors.ts";
import type { Family } from "../../exit/routing.ts";
import type { Sysctl } from "../../exit/server_plan.ts";
import { runCommand } from "../run_command.ts";
import { findProgram, readProc } from "./dns_program.ts";

const PACKAGES: Readonly<Record<string, string>> = {
  ip: "iproute2",
  nft: "nftables",
  tee: "coreutils",
};

/** What a program said and whether it did what it was asked. */
interface Answer {
  readonly success: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Applies text in one transaction.
 * @throws {MeshError} `system` with what nft said; then nothing has changed.
 */
export async function nft(text: string): Promise<void> {
  const { success, stderr } = await runWithInput("nft", ["-f", "-"], text);
  if (!success) throw new MeshError("system", `Cannot change the packet filter: ${stderr.trim()}`);
}

/**
 * Applies lines one after the other, until one fails.
 * @throws {MeshError} `system` with what ip said.
 */
export async function ipBatch(family: Family, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const input = lines.join("\n") + "\n";
  const { success, stderr } = await runWithInput("ip", [`-${family}`, "-batch", "-"], input);
  if (!success) throw new MeshError("system", `Cannot change routes: ${stderr.trim()}`);
}

/** A listing of `ip` as JSON; null where the kernel has nothing of the kind. */
export async function ipList(family: Family, ...words: string[]): Promise<string | null> {
  const args = [`-${family}`, "-Numeric", "-details", "-json", ...words];
  const { success, stdout } = await runWithInput("ip", args, "");
  return success ? stdout.trim() : null;
}

/** Names of all interfaces. */
export async function interfaceNames(): Promise<string[]> {
  const { stdout } = await runWithInput("ip", ["-json", "link", "show"], "");
  return (JSON.parse(stdout || "[]") as { ifname: string }[]).map(({ ifname }) => ifname);
}

/** Value of a setting by its path under /proc/sys; null when the kernel does not have it. */
export async function readSysctl(path: string): Promise<string | null> {
  return (await readProc(`/proc/sys/${path}`))?.trim() ?? null;
}

/**
 * Changes a setting.
 * @throws {MeshError} `system` when the kernel refuses.
 */
export async function writeSysctl({ path, value }: Sysctl): Promise<void> {
  const file = `/proc/sys/${path}`;
  try {
    await Deno.writeTextFile(file, value, { create: false });
  } catch (error) {
    // Deno writes there for nobody but a process with all permissions.
    const isRefused = error instanceof Deno.errors.NotCapable;
    const answer = isRefused ? await runWithInput("tee", [file], value) : null;
    if (answer?.success) return;
    const why = answer?.stderr.trim() ?? errorMessage(error);
    throw new MeshError("system", `Cannot set ${path} to ${value}: ${why}`, { cause: error });
  }
}

async function runWithInput(name: string, args: string[], input: string): Promise<Answer> {
  const file = await findProgram(name);
  if (file === null) {
    throw new MeshError("system", `Cannot run ${name}: it is not installed`, {
      hint: `Install it, for example with: apt-get install ${PACKAGES[name] ?? name}`,
    });
  }
  const { code, stdout, stderr } = await runCommand({ argv: [file, ...args], input });
  return { success: code === 0, stdout, stderr };
}
