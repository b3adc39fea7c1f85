/**
 * Sends single datagrams that no router may fragment from the node's own port: path MTU probes
 * (RFC 8899).
 *
 * IPv6: the node's socket is used, with the flag on the one message (RFC 3542, `IPV6_DONTFRAG`).
 *
 * IPv4 has no such flag, only an option of the whole socket, and to turn that on and off again would
 * catch packets of workers in between. So there is a second socket of the same port. It must never
 * take a datagram meant for the node, nor be among those the kernel shares them out to. That is why
 * it is bound to a loopback address of its own, where nothing is ever sent: a socket on all
 * addresses would take IPv4 from the node's before it is connected somewhere, and a connected one
 * has the source address of that connection. Every message asks for a source by route instead
 * (ip(7), `IP_PKTINFO` with no address).
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  check,
  ERRNO,
  libc,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
} from "./libc.ts";
import { libcControl } from "./libc_control.ts";
import { IOVEC, MMSGHDR, MSG, NAME } from "./messages.ts";
import { PinnedMemory } from "./pinned.ts";
import { setMark, setOption, SOCKADDR_IN6, type UdpSockets, writeSockaddr } from "./udp.ts";

const SOL_SOCKET = 1, SO_REUSEPORT = 15;
const IPPROTO_IP = 0, IP_PKTINFO = 8, IP_MTU_DISCOVER = 10, PMTUDISC_PROBE = 3;
const IPPROTO_IPV6 = 41, IPV6_DONTFRAG = 62;
/** struct cmsghdr, and with it the structures in_pktinfo and int. */
const CMSGHDR = 16, PKTINFO_CONTROL = CMSGHDR + 12, DONTFRAG_CONTROL = CMSGHDR + 4;
const CONTROL_ROOM = 32;
const IOV_AT = MMSGHDR, NAME_AT = IOV_AT + IOVEC, CONTROL_AT = NAME_AT + NAME;
/** 127.84.77.1, IPv4 mapped: "TM", an address of the machine itself that nobody uses. */
const OWN_LOOPBACK = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 84, 77, 1);

/** Sends datagrams whole or not at all. */
export interface DfSender {
  /**
   * Sends from the node's port; `ip` is 16 bytes, IPv4 mapped.
   *
   * @returns `"too-big"` when it exceeds the MTU of the interface, or for IPv6 also what routers have
   * told of the path; false when it was refused for another reason.
   */
  send(bytes: Uint8Array, ip: Uint8Array, port: number): boolean | "too-big";
  /** Closes what it has opened itself; the node's sockets stay. */
  close(): void;
}

/**
 * Opens the companion of a node's sockets, which have to outlive it.
 *
 * @throws {MeshError} when the loopback interface is down.
 */
export function openDfSender(node: UdpSockets): DfSender {
  const { symbols, errno } = libc();
  const ipv4 = openIpv4(node);
  const message = new DfMessage();
  return {
    send(bytes, ip, port) {
      const isIpv4 = ip[10] === 0xff && ip[11] === 0xff;
      if (!isIpv4 && node.family === AF_INET) return false;
      message.address(ip, port, isIpv4);
      message.payload(bytes);
      const fd = isIpv4 ? ipv4 : node.fds[0]!;
      if (symbols.sendmmsg(fd, message.pointer, 1, 0) === 1) return true;
      return errno() === ERRNO.EMSGSIZE ? "too-big" : false;
    },
    close() {
      symbols.close(ipv4);
    },
  };
}

/** Opens the IPv4 socket on the node's port. */
function openIpv4(node: UdpSockets): number {
  const { symbols } = libc();
  const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const fd = check("open a UDP socket", symbols.socket(AF_INET, type, 0));
  try {
    setOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
    if (node.mark !== 0) setMark(fd, node.mark);
    const name = new Uint8Array(SOCKADDR_IN6);
    const view = new DataView(name.buffer);
    const length = writeSockaddr(view, 0, AF_INET, OWN_LOOPBACK, node.port);
    withSharedPort([fd, ...node.fds], () => {
      check("bind the port of path MTU probes", symbols.bind(fd, name, length));
    });
    return fd;
  } catch (error) {
    symbols.close(fd);
    throw error;
  }
}

/** Lets sockets have one port during `bind`; programs of other users are refused even then. */
function withSharedPort(fds: readonly number[], bind: () => void): void {
  const before = fds.map(isPortShared);
  for (const fd of fds) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  try {
    bind();
  } finally {
    fds.forEach((fd, i) => setOption(fd, SOL_SOCKET, SO_REUSEPORT, before[i]! ? 1 : 0));
  }
}

function isPortShared(fd: number): boolean {
  const value = new Int32Array(1);
  const bytes = new Uint8Array(value.buffer);
  libcControl().getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, bytes, new Uint32Array([4]));
  return value[0] !== 0;
}

/** One message of sendmmsg(2) with the flags of a probe. */
class DfMessage {
  readonly #headers = new PinnedMemory(CONTROL_AT + CONTROL_ROOM);

  constructor() {
    const { words, address } = this.#headers;
    this.#headers.writeAddress(MSG.name, address + NAME_AT);
    this.#headers.writeAddress(MSG.iov, address + IOV_AT);
    words[MSG.iovlen >> 2] = 1;
    this.#headers.writeAddress(MSG.control, address + CONTROL_AT);
  }

  get pointer(): Deno.PointerObject {
    return this.#headers.pointer;
  }

  address(ip: Uint8Array, port: number, isIpv4: boolean): void {
    const { words, view, bytes } = this.#headers;
    const family = isIpv4 ? AF_INET : AF_INET6;
    words[MSG.namelen >> 2] = writeSockaddr(view, NAME_AT, family, ip, port);
    bytes.fill(0, CONTROL_AT, CONTROL_AT + CONTROL_ROOM);
    words[MSG.controllen >> 2] = CONTROL_ROOM;
    view.setUint32(CONTROL_AT, isIpv4 ? PKTINFO_CONTROL : DONTFRAG_CONTROL, true);
    view.setInt32(CONTROL_AT + 8, isIpv4 ? IPPROTO_IP : IPPROTO_IPV6, true);
    view.setInt32(CONTROL_AT + 12, isIpv4 ? IP_PKTINFO : IPV6_DONTFRAG, true);
    if (!isIpv4) view.setInt32(CONTROL_AT + CMSGHDR, 1, true);
  }

  payload(bytes: Uint8Array): void {
    const start = Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>);
    this.#headers.writeAddress(IOV_AT, Number(Deno.UnsafePointer.value(start)));
    this.#headers.words[(IOV_AT >> 2) + 2] = bytes.length;
  }
}
