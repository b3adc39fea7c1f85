/**
 * A small virtual machine with this distribution's own kernel, as one more machine on a lab network.
 *
 * qemu emulates the processor, so no virtualization support is needed; its tap device hangs on the
 * lab's bridge and qemu runs in the bridge's namespace, so packets reach the guest as they would
 * reach any other machine there. Commands run in a shell at the end of a virtio port (a
 * serial line loses input).
 * @module
 */
import type { Namespace } from "../e2e/lab/netns.ts";
import { type Output, type Process, waitFor } from "../e2e/lab/process.ts";
import type { Lan } from "../e2e/lab/topology.ts";
import {
  formatAddressing,
  formatSetconf,
  parseDump,
  type PeerDump,
  type StockDevice,
  type StockWireGuard,
} from "../interop/wireguard.ts";
import { isInstalled, newestKernel } from "../../scripts/system_packages.ts";
import type { Needs } from "../skip.ts";
import { buildInitramfs } from "./initramfs.ts";

/** What a test with a virtual machine needs. */
export const VM_NEEDS: Needs = {
  tools: ["qemu-system-x86_64", "busybox", "wg", "xz"],
  kernelImage: true,
};

const MODULES = ["virtio_pci", "virtio_net", "virtio_console", "wireguard", "sch_netem"];
const APPLETS = "sh mount cat echo insmod ip ping nc sleep dd sha256sum poweroff head seq ls";

/** The first program of the guest: devices, modules, addresses, then commands from the port. */
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin
for a in ${APPLETS}; do /bin/busybox ln -sf /bin/busybox /bin/$a; done
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for m in /modules/*.ko; do insmod $m; done
ip link set lo up
ip address add ADDRESS4/24 dev eth0
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
ip address add ADDRESS6/64 dev eth0
ip link set eth0 mtu MTU up
until set -- /dev/vport* && [ -e "$1" ]; do sleep 0.05; done
exec 3<>"$1"
echo VM-READY >&3
while true; do sh <&3 >&3 2>&1; sleep 0.1; done # it ends when it reads before qemu has connected
`;

/** The running guest; dispose of it to switch it off. */
export class VirtualMachine implements StockWireGuard, AsyncDisposable {
  readonly ip4 = "10.99.0.100";
  readonly ip6 = "fd99::100";
  readonly #process: Process;
  readonly #bridge: Namespace;
  #commands = 0;

  private constructor(process: Process, bridge: Namespace) {
    this.#process = process;
    this.#bridge = bridge;
  }

  /** Boots it on that network; it takes some 10 to 40 s. At most one per network. */
  static async boot(lan: Lan, { mtu = 1500 }: { mtu?: number } = {}): Promise<VirtualMachine> {
    const release = newestKernel();
    if (release === null) throw new Error("Cannot boot: no kernel image in /boot with modules");
    const programs = [
      "/usr/bin/wg",
      "/usr/sbin/tc",
      ...isInstalled("iperf3") ? ["/usr/bin/iperf3"] : [],
    ];
    const image = `${lan.bridge.directory}/initramfs`;
    const init = INIT.replace("ADDRESS4", "10.99.0.100").replace("ADDRESS6", "fd99::100")
      .replace("MTU", `${mtu}`);
    const busybox = isInstalled("busybox") && await exists("/bin/busybox");
    await Deno.writeFile(
      image,
      await buildInitramfs({
        release,
        modules: MODULES,
        programs: [busybox ? "/bin/busybox" : "/usr/bin/busybox", ...programs],
        init,
      }),
    );
    await lan.addTap("vm0");
    const process = lan.bridge.spawn(qemuCommand(release, image, lan.bridge.directory), {
      input: "",
    });
    const machine = new VirtualMachine(process, lan.bridge);
    try {
      await process.waitForOutput(/VM-READY/, 150_000);
      return machine;
    } catch (error) {
      const console = await machine.console();
      await machine[Symbol.asyncDispose]();
      throw new Error(`Cannot boot the virtual machine:\n${console}`, { cause: error });
    }
  }

  /** Runs shell commands in the guest. Its output comes without a separate error stream. */
  async run(script: string, timeoutMs = 60_000): Promise<Output> {
    const id = ++this.#commands;
    const start = this.#process.stdout.length;
    await this.#process.write(`{ ${script}\n} </dev/null; echo "@@${id} $?"\n`);
    const end = new RegExp(`@@${id} (\\d+)\\r?\\n`);
    const match = await waitFor(`the end of "${script}" in the virtual machine`, () => {
      if (!this.#process.isRunning) throw new Error(this.#process.report("ended"));
      return end.exec(this.#process.stdout.slice(start));
    }, { timeoutMs });
    const text = this.#process.stdout.slice(start, start + match.index).replaceAll("\r", "");
    return { code: Number(match[1]), stdout: text, stderr: "" };
  }

  /** Runs shell commands that have to succeed. */
  async must(script: string, timeoutMs = 60_000): Promise<string> {
    const output = await this.run(script, timeoutMs);
    if (output.code !== 0) throw new Error(`Cannot run "${script}" in the guest: ${output.stdout}`);
    return output.stdout;
  }

  /** Delays three of four packets that leave, so that the fourth overtakes them (tc-netem(8)). */
  async reorder(): Promise<void> {
    // By its path: busybox has a `tc` of its own, which cannot do this.
    await this.must("/usr/sbin/tc qdisc add dev eth0 root netem delay 2ms reorder 25% 50%");
  }

  /** Creates `wg0` with the kernel's own WireGuard. */
  async startWireGuard(device: StockDevice): Promise<StockWireGuard> {
    const setconf = formatSetconf(device).trimEnd();
    await this.must(`ip link add wg0 type wireguard`);
    await this.must(`cat > /tmp/wg0.conf <<'END'\n${setconf}\nEND\nwg setconf wg0 /tmp/wg0.conf`);
    await this.must(formatAddressing(device, "wg0"));
    return this;
  }

  async peer(): Promise<PeerDump> {
    const peers = parseDump(await this.must("wg show wg0 dump"));
    if (peers.length !== 1) throw new Error(`Expected one peer, found ${peers.length}`);
    return peers[0]!;
  }

  /** What the kernel has written to its console. */
  async console(): Promise<string> {
    return await Deno.readTextFile(`${this.#bridge.directory}/console`).catch(() => "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process[Symbol.asyncDispose]();
  }
}

function qemuCommand(release: string, image: string, directory: string): string[] {
  return [
    ...["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "256"],
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...["-kernel", `/boot/vmlinuz-${release}`, "-initrd", image],
    ...["-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on"],
    ...["-serial", `file:${directory}/console`, "-chardev", "stdio,id=c0,signal=off"],
    ...["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=c0,name=shell"],
    ...["-netdev", "tap,id=n0,ifname=vm0,script=no,downscript=no"],
    ...["-device", "virtio-net-pci,netdev=n0,romfile="],
  ];
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
