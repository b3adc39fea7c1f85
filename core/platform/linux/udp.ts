/**
 * The UDP socket of the mesh and batched system calls on it (udp(7), sendmmsg(2), recvmmsg(2)).
 *
 * One dual-stack socket carries IPv4 (as mapped addresses) and IPv6. Runs of equal datagrams to one
 * peer leave as one message with `UDP_SEGMENT`; trains of them arrive as one with `UDP_GRO`.
 * @module
 */
import type { DatagramSink } from "../../dataplane/tx_path.ts";
import { readEndpoint } from "../../dataplane/rx_path.ts";
import { DROPS } from "../../drops.ts";
import { type SharedState, TX } from "../../dataplane/layout.ts";
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

const SOL_SOCKET = 1, SO_SNDBUF = 7, SO_RCVBUF = 8, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0, IP_MTU_DISCOVER = 10, IPPROTO_IPV6 = 41, IPV6_V6ONLY = 26;
const IPV6_MTU_DISCOVER = 23, PMTUDISC_DONT = 0;
const SOL_UDP = 17, UDP_SEGMENT = 103, UDP_GRO = 104;
const SOCKADDR_IN6 = 28, SOCKADDR_IN = 16;

/** 10 Gbit/s for 5 ms; the kernel's default of 208 KiB loses bursts (anchors of the field use 7 MB). */
const SOCKET_BUFFER = 7 << 20;

/** An open socket. */
export interface UdpSocket {
  readonly fd: number;
  readonly port: number;
  /** `AF_INET6` normally; `AF_INET` where the kernel has no IPv6. */
  readonly family: number;
  readonly hasGro: boolean;
  /** Sends one datagram now; `ip` is 16 bytes, IPv4 mapped. Returns false when it was refused. */
  send(bytes: Uint8Array, ip: Uint8Array, port: number): boolean;
  close(): void;
}

/**
 * Binds `port` on all addresses; 0 lets the kernel choose.
 *
 * @throws {MeshError} `already-running` when the port is taken.
 */
export function openUdp(port: number): UdpSocket {
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
  const hasGro = setOption(fd, SOL_UDP, UDP_GRO, 1);
  symbols.getsockname(fd, address, new Uint32Array([SOCKADDR_IN6]));
  const bound = new DataView(address.buffer).getUint16(2);
  const name = new Uint8Array(SOCKADDR_IN6);
  return {
    fd,
    port: bound,
    family,
    hasGro,
    send(bytes, ip, to) {
      const length = writeSockaddr(new DataView(name.buffer), 0, family, ip, to);
      return length > 0 && symbols.sendto(fd, bytes, bytes.length, 0, name, length) >= 0;
    },
    close: () => void symbols.close(fd),
  };
}

function setOption(fd: number, level: number, option: number, value: number): boolean {
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

/** Memory with a known address, for structures that hold pointers. */
export class PinnedMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly words: Uint32Array;
  readonly pointer: Deno.PointerObject;
  /** Below 2^48, so exact as a number. */
  readonly address: number;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
    this.words = new Uint32Array(this.bytes.buffer);
    this.pointer = Deno.UnsafePointer.of(this.bytes)!;
    this.address = Number(Deno.UnsafePointer.value(this.pointer));
  }

  /** A pointer to byte `at`; take it once, not per call. */
  at(at: number): Deno.PointerObject {
    return Deno.UnsafePointer.offset(this.pointer, at)!;
  }

  /** Writes a 64-bit address at byte `at`, a multiple of 4. */
  writeAddress(at: number, address: number): void {
    this.words[at >> 2] = address >>> 0;
    this.words[(at >> 2) + 1] = Math.floor(address / 2 ** 32);
  }
}

/** struct msghdr inside struct mmsghdr, 64-bit (recvmmsg(2)). */
const MSG = { name: 0, namelen: 8, iov: 16, iovlen: 24, control: 32, controllen: 40, flags: 48 };
const MSG_LENGTH = 56, MMSGHDR = 64, IOVEC = 16, CMSG = 24, NAME = 32;

/** Datagrams of one flush; also the most segments of one message (UDP_MAX_SEGMENTS). */
const BATCH = 64;
/** Largest UDP payload over IPv4: 65,535 - 20 - 8. */
const MAX_GSO_BYTES = 65_507;
/** What sendmmsg(2) answers when it cannot segment: by kernel version and cause. */
const REFUSES_GSO: readonly number[] = [ERRNO.EIO, ERRNO.EINVAL, ERRNO.EMSGSIZE];
const DROP_SEND = DROPS.indexOf("send-failed");

/** Queues sealed datagrams and sends them with as few system calls as may be. */
export class UdpSender implements DatagramSink {
  readonly #shared: SharedState;
  readonly #socket: UdpSocket;
  readonly #memory: PinnedMemory;
  readonly #scratchAt: number;
  readonly #headers: PinnedMemory;
  readonly #headerPointers: Deno.PointerObject[] = [];
  readonly #peers = new Int32Array(BATCH);
  readonly #ip = new Uint8Array(16);
  #count = 0;
  #messages = 0;
  /** Cleared for good when the device cannot segment. */
  #mayUseGso = true;
  /** The queued datagram that the first message begins with. */
  #start = 0;

  /**
   * @param memory Where queued datagrams lie; its last `scratch` bytes are for others', which are
   * copied there.
   */
  constructor(shared: SharedState, socket: UdpSocket, memory: PinnedMemory, scratch: number) {
    this.#shared = shared;
    this.#socket = socket;
    this.#memory = memory;
    this.#scratchAt = memory.bytes.length - scratch;
    this.#headers = new PinnedMemory(BATCH * (MMSGHDR + IOVEC + CMSG + NAME));
    for (let i = 0; i < BATCH; i++) this.#headerPointers.push(this.#headers.at(i * MMSGHDR));
  }

  send(peer: number, bytes: Uint8Array, at: number, length: number): void {
    if (bytes !== this.#memory.bytes) {
      this.flush();
      this.#memory.bytes.set(bytes.subarray(at, at + length), this.#scratchAt);
      return this.#queue(peer, this.#scratchAt, length);
    }
    if (this.#count === BATCH) this.flush();
    this.#queue(peer, at, length);
  }

  flush(): void {
    if (this.#count === 0) return;
    let useGso = this.#mayUseGso;
    this.#build(0, useGso);
    let sent = 0;
    while (sent < this.#messages) {
      const result = libc().symbols.sendmmsg(
        this.#socket.fd,
        this.#headerPointers[sent]!,
        this.#messages - sent,
        0,
      );
      if (result > 0) {
        sent += result;
        continue;
      }
      const errno = libc().errno();
      if (errno === ERRNO.EINTR) continue;
      if (useGso && REFUSES_GSO.includes(errno)) {
        // Send the rest, and only the rest, one by one. Segments beyond the MTU of one path
        // (EMSGSIZE) say nothing about other paths; the other errors do about the device.
        useGso = false;
        if (errno !== ERRNO.EMSGSIZE) this.#mayUseGso = false;
        this.#build(this.#firstOf(sent), useGso);
        sent = 0;
        continue;
      }
      this.#shared.drop(TX, DROP_SEND);
      sent++;
    }
    this.#count = 0;
  }

  #queue(peer: number, at: number, length: number): void {
    const iov = BATCH * MMSGHDR + this.#count * IOVEC;
    this.#headers.writeAddress(iov, this.#memory.address + at);
    this.#headers.words[(iov >> 2) + 2] = length;
    this.#headers.words[(iov >> 2) + 3] = 0;
    this.#peers[this.#count++] = peer;
  }

  /** The queued datagram that message `message` begins with. */
  #firstOf(message: number): number {
    const words = this.#headers.words;
    let first = this.#start;
    for (let i = 0; i < message; i++) first += words[(i * MMSGHDR + MSG.iovlen) >> 2]!;
    return first;
  }

  /** Groups the queued datagrams from `start` on into messages. */
  #build(start: number, useGso: boolean): void {
    this.#start = start;
    this.#messages = 0;
    let i = start;
    while (i < this.#count) {
      let end = i + 1;
      if (useGso) end = this.#runEnd(i);
      this.#message(i, end);
      i = end;
    }
  }

  /** End of the run at `i`: one peer, equal lengths, of which the last may be shorter. */
  #runEnd(i: number): number {
    const size = this.#length(i);
    let bytes = size;
    let end = i + 1;
    while (end < this.#count && this.#peers[end] === this.#peers[i]) {
      const length = this.#length(end);
      bytes += length;
      if (length > size || bytes > MAX_GSO_BYTES) break;
      end++;
      if (length < size) break;
    }
    return end;
  }

  #length(i: number): number {
    return this.#headers.words[((BATCH * MMSGHDR + i * IOVEC) >> 2) + 2]!;
  }

  #message(first: number, end: number): void {
    const { words, view, address } = this.#headers;
    const port = readEndpoint(this.#shared, this.#peers[first]!, this.#ip);
    const index = this.#messages;
    const nameAt = BATCH * (MMSGHDR + IOVEC + CMSG) + index * NAME;
    const nameLength = writeSockaddr(view, nameAt, this.#socket.family, this.#ip, port);
    if (port === 0 || nameLength === 0) return this.#shared.drop(TX, DROP_SEND);

    const at = index * MMSGHDR;
    words.fill(0, at >> 2, (at + MMSGHDR) >> 2);
    this.#headers.writeAddress(at + MSG.name, address + nameAt);
    words[(at + MSG.namelen) >> 2] = nameLength;
    this.#headers.writeAddress(at + MSG.iov, address + BATCH * MMSGHDR + first * IOVEC);
    words[(at + MSG.iovlen) >> 2] = end - first;
    if (end - first > 1) {
      const control = BATCH * (MMSGHDR + IOVEC) + index * CMSG;
      view.setUint32(control, 18, true);
      view.setUint32(control + 4, 0, true);
      view.setInt32(control + 8, SOL_UDP, true);
      view.setInt32(control + 12, UDP_SEGMENT, true);
      view.setUint16(control + 16, this.#length(first), true);
      this.#headers.writeAddress(at + MSG.control, address + control);
      words[(at + MSG.controllen) >> 2] = CMSG;
    }
    this.#messages++;
  }
}

const VECTORS = 16;
const VECTOR_BYTES = 65_536;
const RX_CONTROL = 32;

/** Receives batches of datagrams; {@link forEach} walks them, split where the kernel joined them. */
export class UdpReceiver {
  readonly memory: PinnedMemory;
  readonly #socket: UdpSocket;
  readonly #headers: PinnedMemory;
  /** 16 address bytes of the datagram being walked. */
  readonly source = { bytes: new Uint8Array(16), at: 0, port: 0 };

  constructor(socket: UdpSocket) {
    this.#socket = socket;
    this.memory = new PinnedMemory(VECTORS * VECTOR_BYTES);
    this.#headers = new PinnedMemory(VECTORS * (MMSGHDR + IOVEC + NAME + RX_CONTROL));
    const { words, address } = this.#headers;
    for (let i = 0; i < VECTORS; i++) {
      const iov = VECTORS * MMSGHDR + i * IOVEC;
      this.#headers.writeAddress(iov, this.memory.address + i * VECTOR_BYTES);
      words[(iov >> 2) + 2] = VECTOR_BYTES;
      const at = i * MMSGHDR;
      this.#headers.writeAddress(at + MSG.name, address + nameOffset(i));
      this.#headers.writeAddress(at + MSG.iov, address + iov);
      words[(at + MSG.iovlen) >> 2] = 1;
      this.#headers.writeAddress(at + MSG.control, address + nameOffset(i) + NAME);
    }
  }

  /** Receives what is there; returns the number of messages, 0 when there is none. */
  receive(): number {
    const { words } = this.#headers;
    for (let i = 0; i < VECTORS; i++) {
      words[(i * MMSGHDR + MSG.namelen) >> 2] = SOCKADDR_IN6;
      words[(i * MMSGHDR + MSG.controllen) >> 2] = RX_CONTROL;
    }
    const { symbols } = libc();
    return Math.max(
      0,
      symbols.recvmmsg(this.#socket.fd, this.#headers.pointer, VECTORS, 0, null),
    );
  }

  /** Calls `each` for every datagram of the last {@link receive}; `source` is set for the call. */
  forEach(messages: number, each: (at: number, length: number) => void): void {
    for (let i = 0; i < messages; i++) {
      const total = this.#headers.words[(i * MMSGHDR + MSG_LENGTH) >> 2]!;
      this.#readSource(nameOffset(i));
      const segment = this.#segmentSize(i) || total;
      const start = i * VECTOR_BYTES;
      for (let at = 0; at < total; at += segment) {
        each(start + at, Math.min(segment, total - at));
      }
    }
  }

  /** The size of the pieces that GRO joined, or 0. */
  #segmentSize(i: number): number {
    const { words, view } = this.#headers;
    if (words[(i * MMSGHDR + MSG.controllen) >> 2]! < 20) return 0;
    const control = nameOffset(i) + NAME;
    const isGro = view.getInt32(control + 8, true) === SOL_UDP &&
      view.getInt32(control + 12, true) === UDP_GRO;
    return isGro ? view.getInt32(control + 16, true) : 0;
  }

  #readSource(at: number): void {
    const { view, bytes } = this.#headers;
    const { source } = this;
    source.port = view.getUint16(at + 2);
    if (view.getUint16(at, true) === AF_INET) {
      source.bytes.fill(0, 0, 10);
      source.bytes[10] = source.bytes[11] = 0xff;
      for (let i = 0; i < 4; i++) source.bytes[12 + i] = bytes[at + 4 + i]!;
      return;
    }
    for (let i = 0; i < 16; i++) source.bytes[i] = bytes[at + 8 + i]!;
  }
}

function nameOffset(i: number): number {
  return VECTORS * (MMSGHDR + IOVEC) + i * (NAME + RX_CONTROL);
}
