/**
 * A TUN device: the network interface whose packets this program carries (Linux, tun(4)).
 *
 * The device lives as long as its file descriptor, so the kernel removes interface, addresses and
 * routes by itself when the process ends, however it ends.
 * @module
 */
import { MeshError } from "../../errors.ts";
import { check, cString, describeErrno, ERRNO, libc } from "./libc.ts";

const O_RDWR = 2, O_NONBLOCK = 0o4000, O_CLOEXEC = 0o2000000;
const TUNSETIFF = 0x400454can, IFF_TUN = 1, IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000,
  IFF_MULTI_QUEUE = 0x100,
  IFF_TUN_EXCL = 0x8000,
  TUNSETOFFLOAD = 0x400454d0n;
const TUN_F_CSUM = 1, TUN_F_TSO = 2 | 4, TUN_F_USO = 32 | 64;
const IFNAMSIZ = 16, IFREQ_SIZE = 40;

/** An open TUN device. */
export interface TunDevice {
  /** One descriptor for each queue; the kernel keeps a stream's packets in one. */
  readonly queues: readonly number[];
  /** The interface's name. */
  readonly name: string;
  readonly offloads: TunOffloads;
  close(): void;
}

/**
 * What the kernel leaves to this program: it hands over super-packets of up to 64 KiB, and takes
 * them. Without any, packets are of the interface's size and complete.
 */
export interface TunOffloads {
  readonly tcp: boolean;
  /** Also of UDP: since Linux 6.2. */
  readonly udp: boolean;
}

/**
 * Creates the interface `name`; the caller configures addresses and brings it up.
 *
 * @throws {MeshError} `privilege-missing` without the right to; `already-running` when another
 * program holds an interface of that name; `unsupported` where the kernel has no TUN driver.
 */
export function openTun(name: string, wanted: TunOffloads, queues = 1): TunDevice {
  if (name.length === 0 || name.length >= IFNAMSIZ) {
    throw new MeshError("config-invalid", `Cannot create interface "${name}": 1 to 15 characters`);
  }
  const flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0);
  const fds: number[] = [];
  const close = () => fds.forEach((fd) => libc().symbols.close(fd));
  try {
    // Only the first is exclusive: else a second daemon would become a queue of the first.
    for (let i = 0; i < queues; i++) {
      fds.push(openQueue(name, i === 0 ? flags | IFF_TUN_EXCL : flags));
    }
  } catch (error) {
    close();
    throw error;
  }
  // The offloads are the interface's, not a queue's.
  return { queues: fds, name, offloads: setOffloads(fds[0]!, wanted), close };
}

/** Opens the device with one queue, or one more of its queues. */
function openQueue(name: string, flags: number): number {
  const { symbols, errno } = libc();
  const fd = symbols.open(cString("/dev/net/tun"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && (errno() === ERRNO.ENOENT || errno() === ERRNO.ENODEV)) {
    throw new MeshError("unsupported", "Cannot open /dev/net/tun: the TUN driver is missing", {
      hint: "Load it with: modprobe tun (in a container, pass --device /dev/net/tun)",
    });
  }
  check("open /dev/net/tun", fd);
  const request = new Uint8Array(IFREQ_SIZE);
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setInt16(IFNAMSIZ, flags, true);
  if (symbols.ioctl(fd, TUNSETIFF, request) >= 0) return fd;
  const number = errno();
  symbols.close(fd);
  if (number === ERRNO.EBUSY) {
    throw new MeshError("already-running", `Cannot create interface ${name}: it is in use`, {
      hint: "Stop the other program, or choose another name with --interface",
    });
  }
  const denied = number === ERRNO.EPERM || number === ERRNO.EACCES;
  throw new MeshError(
    denied ? "privilege-missing" : "system",
    `Cannot create interface ${name}: ${describeErrno(number)}`,
    denied ? { hint: "Run the command as root, for example with sudo" } : {},
  );
}

/** Asks for as many of the offloads as the kernel has; returns those. */
function setOffloads(fd: number, wanted: TunOffloads): TunOffloads {
  const { symbols } = libc();
  const set = (bits: number) => symbols.ioctlValue(fd, TUNSETOFFLOAD, BigInt(bits)) === 0;
  const tcp = wanted.tcp ? TUN_F_CSUM | TUN_F_TSO : 0;
  if (wanted.tcp && wanted.udp && set(tcp | TUN_F_USO)) return { tcp: true, udp: true };
  return { tcp: set(tcp) && wanted.tcp, udp: false };
}
