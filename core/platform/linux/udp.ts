/**
 * The UDP socket of the mesh (udp(7)): one dual-stack socket carries IPv4, as mapped addresses, and
 * IPv6. Batches go through `udp_sender.ts` and `udp_receiver.ts`.
 * @module
 */
import { MeshError } from "../../errors.ts";
import {
  AF_INET,
  AF_INET6,
  check,
  describeErrno,
  ERRNO,
  libc,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
} from "./libc.ts";
import { SOL_UDP, UDP_GRO } from "./messages.ts";

const SOL_SOCKET = 1,
  SO_REUSEPORT = 15,
  SO_SNDBUF = 7,
  SO_RCVBUF = 8,
  SO_MARK = 36,
  SO_SNDBUFFORCE = 32,
  SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0, IP_MTU_DISCOVER = 10, IPPROTO_IPV6 = 41, IPV6_V6ONLY = 26;
const IPV6_MTU_DISCOVER = 23, PMTUDISC_DONT = 0;
export const SOCKADDR_IN6 = 28;
const SOCKADDR_IN = 16;

/** 10 Gbit/s for 5 ms; the kernel's default of 208 KiB loses bursts (anchors of the field use 7 MB). */
const SOCKET_BUFFER = 7 << 20;

/** One socket of a port. */
export interface UdpSocket {
  readonly fd: number;
  /** `AF_INET6` normally; `AF_INET` where the kernel has no IPv6. */
  readonly family: number;
}

/** The sockets of one port. */
export interface UdpSockets {
  /** The kernel brings all datagrams of one remote address to the same one. */
  readonly fds: readonly number[];
  readonly family: number;
  readonly port: number;
  /** The mark of what they send, by which policy routing tells it apart; 0 for none. */
  readonly mark: number;
  /** Sends one datagram now; `ip` is 16 bytes, IPv4 mapped. Returns false when it was refused. */
  send(bytes: Uint8Array, ip: Uint8Array, port: number): boolean;
  close(): void;
}

/**
 * Binds `port` on all addresses with so many sockets; port 0 lets the kernel choose.
 *
 * @param mark See {@link UdpSockets.mark}; another one than 0 takes CAP_NET_ADMIN.
 * @throws {MeshError} `already-running` when the port is taken.
 */
export function openUdp(port: number, wantsGro: boolean, sockets = 1, mark = 0): UdpSockets {
  const { symbols } = libc();
  const fds: number[] = [];
  const close = () => fds.forEach((fd) => symbols.close(fd));
  try {
    const first = bindSocket(port, wantsGro, false);
    fds.push(first.fd);
    const { family } = first;
    // Shared only once it is ours, so that a port of another program is still refused.
    if (sockets > 1) setOption(first.fd, SOL_SOCKET, SO_REUSEPORT, 1);
    while (fds.length < sockets) fds.push(bindSocket(first.port, wantsGro, true).fd);
    if (mark !== 0) fds.forEach((fd) => setMark(fd, mark));
    const name = new Uint8Array(SOCKADDR_IN6);
    const view = new DataView(name.buffer);
    return {
      fds,
      family,
      port: first.port,
      mark,
      send(bytes, ip, to) {
        const length = writeSockaddr(view, 0, family, ip, to);
        return length > 0 && symbols.sendto(first.fd, bytes, bytes.length, 0, name, length) >= 0;
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Opens one socket, sets it up and binds it. */
function bindSocket(port: number, wantsGro: boolean, isShared: boolean) {
  const { symbols, errno } = libc();
  const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  let family = AF_INET6;
  let fd = symbols.socket(AF_INET6, type, 0);
  if (fd < 0 && errno() === ERRNO.EAFNOSUPPORT) {
    family = AF_INET;
    fd = symbols.socket(AF_INET, type, 0);
  }
  check("open a UDP socket", fd);
  if (family === AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (isShared) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  const address = new Uint8Array(SOCKADDR_IN6);
  writeSockaddr(new DataView(address.buffer), 0, family, new Uint8Array(16), port);
  if (symbols.bind(fd, address, family === AF_INET6 ? SOCKADDR_IN6 : SOCKADDR_IN) < 0) {
    const number = errno();
    symbols.close(fd);
    throw new MeshError(
      number === ERRNO.EADDRINUSE ? "already-running" : "system",
      `Cannot bind UDP port ${port}: ${describeErrno(number)}`,
      { hint: "Choose another port with --udp-port, or 0 for any" },
    );
  }
  // Outer datagrams may be fragmented: the path MTU is not discovered at this layer.
  setOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT);
  if (family === AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT);
  if (!setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER)) {
    setOption(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
  }
  if (!setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER)) {
    setOption(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
  }
  // Refused by kernels before 5.0, which hand over each datagram alone.
  if (wantsGro) setOption(fd, SOL_UDP, UDP_GRO, 1);
  symbols.getsockname(fd, address, new Uint32Array([SOCKADDR_IN6]));
  return { fd, family, port: new DataView(address.buffer).getUint16(2) };
}

/**
 * Marks what a socket sends from now on; 0 takes the mark away.
 *
 * @throws {MeshError} `privilege-missing` without CAP_NET_ADMIN.
 */
export function setMark(fd: number, mark: number): void {
  const isSet = setOption(fd, SOL_SOCKET, SO_MARK, mark);
  check("mark a socket", isSet ? 0 : -1);
}

/** Sets an option that is a number; false when the kernel does not have it. */
export function setOption(fd: number, level: number, option: number, value: number): boolean {
  return libc().symbols.setsockopt(fd, level, option, new Int32Array([value]), 4) === 0;
}

/**
 * Writes a socket address of `family` for 16 address bytes and a port; returns its length, or 0
 * when an IPv4 socket cannot reach that address.
 */
export function writeSockaddr(
  view: DataView,
  at: number,
  family: number,
  ip: Uint8Array,
  port: number,
): number {
  view.setUint16(at, family, true);
  view.setUint16(at + 2, port);
  if (family === AF_INET) {
    const isIpv4 = (ip[10] === 0xff && ip[11] === 0xff) || ip.every((byte) => byte === 0);
    for (let i = 0; i < 4; i++) view.setUint8(at + 4 + i, ip[12 + i]!);
    return isIpv4 ? SOCKADDR_IN : 0;
  }
  view.setUint32(at + 4, 0);
  for (let i = 0; i < 16; i++) view.setUint8(at + 8 + i, ip[i]!);
  view.setUint32(at + 24, 0);
  return SOCKADDR_IN6;
}
