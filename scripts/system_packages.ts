/**
 * Which system programs the tests and the demo need, which are missing, and how to get them.
 *
 * Debian and Ubuntu only: elsewhere the names are printed for the reader to translate.
 * @module
 */

/** A program with the Debian package that brings it. */
interface Requirement {
  readonly program: string;
  readonly package: string;
}

const REQUIREMENTS: readonly Requirement[] = [
  { program: "ip", package: "iproute2" },
  { program: "nft", package: "nftables" },
  { program: "iptables-legacy", package: "iptables" },
  { program: "ping", package: "iputils-ping" },
  { program: "wg", package: "wireguard-tools" },
  { program: "wireguard-go", package: "wireguard-go" },
  { program: "iperf3", package: "iperf3" },
  { program: "miniupnpd", package: "miniupnpd-nftables" },
  { program: "dig", package: "dnsutils" },
  { program: "curl", package: "curl" },
  { program: "openssl", package: "openssl" },
  { program: "ssh-keygen", package: "openssh-client" },
  { program: "sshd", package: "openssh-server" },
  { program: "qemu-system-x86_64", package: "qemu-system-x86" },
  { program: "busybox", package: "busybox-static" },
  { program: "cpio", package: "cpio" },
  { program: "xz", package: "xz-utils" },
  { program: "zstd", package: "zstd" },
  { program: "modprobe", package: "kmod" },
  { program: "tcpdump", package: "tcpdump" },
  { program: "ps", package: "procps" },
  { program: "mount", package: "mount" },
];

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";
/** Root's own PATH may lack some of these. */
const FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The packages that are not there, each once. */
export function missingPackages(): string[] {
  const missing = REQUIREMENTS.filter((each) => !isInstalled(each.program))
    .map((each) => each.package);
  if (!exists(CERTIFICATES)) missing.push("ca-certificates");
  if (newestKernel() === null) missing.push(kernelPackage());
  return missing;
}

/** The Debian package of a program in the list. */
export function packageOf(program: string): string {
  return REQUIREMENTS.find((each) => each.program === program)?.package ?? program;
}

/** Whether this user may install packages on this machine. */
export function mayInstall(): boolean {
  return Deno.build.os === "linux" && Deno.uid() === 0 && isInstalled("apt-get");
}

/**
 * Installs packages with apt-get, its output shown only when it fails.
 * @returns Whether all of them are installed.
 */
export async function installPackages(packages: readonly string[]): Promise<boolean> {
  if (!await aptGet(["update"])) return false;
  const install = ["install", "-y", "--no-install-recommends"];
  if (await aptGet([...install, ...packages])) return true;
  // One package that this release does not have must not keep the others away.
  let isComplete = true;
  for (const name of packages) isComplete = await aptGet([...install, name]) && isComplete;
  return isComplete;
}

/** Whether a program is on the PATH or in one of the usual folders. */
export function isInstalled(program: string): boolean {
  const path = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
  return [...path, ...FOLDERS].some((folder) => exists(`${folder}/${program}`));
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

/** The virtual machines of the tests boot the distribution's own kernel. */
function kernelPackage(): string {
  const isUbuntu = exists("/etc/os-release") &&
    /^ID(_LIKE)?=.*ubuntu/m.test(Deno.readTextFileSync("/etc/os-release"));
  if (isUbuntu) return "linux-image-generic";
  return `linux-image-${Deno.build.arch === "aarch64" ? "arm64" : "amd64"}`;
}

async function aptGet(args: readonly string[]): Promise<boolean> {
  const { success, stdout, stderr } = await new Deno.Command("apt-get", {
    args: ["-qq", "-o", "DPkg::Lock::Timeout=120", ...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
  }).output();
  if (!success) {
    console.error(`Cannot run apt-get ${args.join(" ")}`);
    await Deno.stderr.write(stdout);
    await Deno.stderr.write(stderr);
  }
  return success;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
