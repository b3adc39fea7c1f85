/**
 * Which tests can run on this machine, and what is missing for the others.
 *
 * Tests on real kernels need root and some system programs, which `deno task test` installs where it
 * may. A test that cannot run is skipped, and its name says exactly what is missing.
 * @module
 */
import { isInstalled, newestKernel, packageOf } from "../scripts/system_packages.ts";

/** What a test cannot do without. */
export interface Needs {
  /** Programs on the PATH. */
  readonly tools?: readonly string[];
  /** A Linux kernel image in /boot with its modules, to boot in a virtual machine. */
  readonly kernelImage?: boolean;
}

/** What {@link labTest} runs. */
export interface LabTest {
  readonly name: string;
  readonly needs?: Needs;
  /** Every wait inside must be bounded (the lab's helpers are), so that clean-up always comes. */
  readonly run: () => Promise<void>;
}

/** Programs without which there are no machines in the lab. */
export const LAB_TOOLS: readonly string[] = ["ip", "ping", "mount"];

/** Why nothing that needs the lab can run here, or null. */
export function whySkip(needs: Needs = {}): string | null {
  if (Deno.build.os !== "linux") return "needs Linux";
  if (Deno.permissions.querySync({ name: "run" }).state !== "granted") return "needs --allow-all";
  if (Deno.uid() !== 0) return "needs root";
  if (!isCharacterDevice("/dev/net/tun")) return "needs /dev/net/tun";
  const packages = missingPackages(needs);
  return packages.length === 0 ? null : `needs: apt-get install ${packages.join(" ")}`;
}

/** The Debian packages to install for that, each once. */
export function missingPackages(needs: Needs = {}): string[] {
  const tools = [...LAB_TOOLS, ...needs.tools ?? []];
  const packages = tools.filter((tool) => !isInstalled(tool)).map(packageOf);
  if (needs.kernelImage && newestKernel() === null) packages.push("linux-image-amd64");
  return [...new Set(packages)];
}

/** Registers a test that needs root and system programs, or a skipped one that says why. */
export function labTest(test: LabTest): void {
  const reason = whySkip({ ...test.needs, tools: ["nft", ...test.needs?.tools ?? []] });
  Deno.test({
    name: reason === null ? test.name : `${test.name} [skipped: ${reason}]`,
    ignore: reason !== null,
    fn: test.run,
  });
}

function isCharacterDevice(path: string): boolean {
  try {
    return Deno.statSync(path).isCharDevice === true;
  } catch {
    return false;
  }
}
