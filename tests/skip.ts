/**
 * Which tests can run on this machine, and what is missing for the others.
 *
 * Tests on real kernels need root and some system programs. Missing programs are installed when that
 * is allowed (root, apt-get present, `TUNNELMESH_TEST_INSTALL` not `0`); otherwise the test is skipped
 * and its name says exactly what to install.
 * @module
 */

/** The Debian package of each program that a test may need. */
const PACKAGES = {
  busybox: "busybox-static",
  curl: "curl",
  ip: "iproute2",
  iperf3: "iperf3",
  modprobe: "kmod",
  mount: "mount",
  nft: "nftables",
  ping: "iputils-ping",
  "qemu-system-x86_64": "qemu-system-x86",
  wg: "wireguard-tools",
  "wireguard-go": "wireguard-go",
  xz: "xz-utils",
} as const;

/** A program that a test can ask for. */
export type Tool = keyof typeof PACKAGES;

/** What a test cannot do without. */
export interface Needs {
  /** Programs on the PATH. */
  readonly tools?: readonly Tool[];
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

const DIRECTORIES = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** Programs without which there are no machines in the lab. */
const LAB_TOOLS: readonly Tool[] = ["ip", "ping", "mount"];

/** Why tests in network namespaces cannot run here, or null. Installs what it may. */
export function whySkip(needs: Needs = {}): string | null {
  if (Deno.build.os !== "linux") return "needs Linux";
  if (Deno.permissions.querySync({ name: "run" }).state !== "granted") return "needs --allow-run";
  if (Deno.uid() !== 0) return "needs root";
  if (!exists("/dev/net/tun")) return "needs /dev/net/tun (modprobe tun)";
  return missingPackages([...LAB_TOOLS, ...needs.tools ?? []], needs.kernelImage);
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

/** Names what to install, or null when all is there (or could be installed just now). */
function missingPackages(tools: readonly Tool[], kernelImage = false): string | null {
  const missing = () => {
    const packages: string[] = tools.filter((tool) => !isInstalled(tool)).map((t) => PACKAGES[t]);
    if (kernelImage && newestKernel() === null) packages.push(`linux-image-${debianArch()}`);
    return [...new Set(packages)];
  };
  let packages = missing();
  if (packages.length > 0 && mayInstall()) {
    install(packages);
    packages = missing();
  }
  return packages.length === 0 ? null : `needs: apt-get install ${packages.join(" ")}`;
}

/** Whether a program is on the usual path; root's own PATH may lack the sbin directories. */
export function isInstalled(tool: string): boolean {
  return [...(Deno.env.get("PATH") ?? "").split(":"), ...DIRECTORIES]
    .some((directory) => directory !== "" && exists(`${directory}/${tool}`));
}

/** The newest kernel release that has both an image in /boot and modules, or null. */
export function newestKernel(): string | null {
  if (!exists("/boot")) return null;
  const releases = [...Deno.readDirSync("/boot")]
    .filter((entry) => entry.name.startsWith("vmlinuz-"))
    .map((entry) => entry.name.slice("vmlinuz-".length))
    .filter((release) => exists(`/lib/modules/${release}/modules.dep`));
  return releases.sort((a, b) => a.localeCompare(b, "en", { numeric: true })).at(-1) ?? null;
}

let installTried = false;

function mayInstall(): boolean {
  return !installTried && Deno.env.get("TUNNELMESH_TEST_INSTALL") !== "0" &&
    isInstalled("apt-get");
}

function install(packages: readonly string[]): void {
  installTried = true;
  console.error(`Installing for the tests: ${packages.join(" ")}`);
  const apt = (...args: string[]) =>
    new Deno.Command("apt-get", {
      args,
      env: { DEBIAN_FRONTEND: "noninteractive" },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).outputSync().success;
  const wanted = ["install", "-y", "--no-install-recommends", ...packages];
  if (!apt(...wanted)) apt("update") && apt(...wanted);
}

function debianArch(): string {
  return Deno.build.arch === "aarch64" ? "arm64" : "amd64";
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
