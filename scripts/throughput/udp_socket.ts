/**
 * A UDP socket that costs a load generator next to nothing: blocking calls without an event loop,
 * and many datagrams per system call.
 *
 * On a machine with two cores the tunnel needs what the generator leaves over: iperf3 spends a
 * system call on each datagram, this a sixty-fourth of one.
 * @module
 */
import { AF_INET, check, libc, SOCK_CLOEXEC, SOCK_DGRAM } from "../../core/platform/linux/libc.ts";
import { IOVEC, MMSGHDR, MSG } from "../../core/platform/linux/messages.ts";
import { PinnedMemory } from "../../core/platform/linux/pinned.ts";

const SOL_SOCKET = 1, SO_RCVTIMEO = 20, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
const SOCKADDR_IN = 16;
/** Half a second of small datagrams, so that it is the tunnel that loses, never this program. */
const SOCKET_BUFFER = 64 << 20;
/** Room for any datagram that is sent here. */
const DATAGRAM = 2048;

/** Datagrams of one system call. */
export const BATCH = 64;

/** Where datagrams come from or go to. */
export interface Endpoint {
  /** Dotted IPv4. */
  readonly ip: string;
  readonly port: number;
}

/** A socket bound to one address, in conversation with one other. */
export class LoadSocket {
  readonly #fd: number;
  readonly #remote: Uint8Array<ArrayBuffer>;
  readonly #headers = new PinnedMemory(BATCH * (MMSGHDR + IOVEC) + SOCKADDR_IN);
  readonly #payloads = new PinnedMemory(BATCH * DATAGRAM);

  constructor(local: Endpoint, remote: Endpoint) {
    const { socket, bind } = libc().symbols;
    this.#fd = check("open a UDP socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    check(`bind ${local.ip}:${local.port}`, bind(this.#fd, sockaddr(local), SOCKADDR_IN));
    this.#remote = sockaddr(remote);
    this.#set(SO_RCVBUFFORCE, new Int32Array([SOCKET_BUFFER]));
    this.#set(SO_SNDBUFFORCE, new Int32Array([SOCKET_BUFFER]));
    this.#prepare();
  }

  /** Lets {@link receive} give up after that long. */
  setTimeout(ms: number): void {
    const seconds = Math.floor(ms / 1000);
    this.#set(SO_RCVTIMEO, new BigInt64Array([BigInt(seconds), BigInt((ms % 1000) * 1000)]));
  }

  /** Sends one datagram; what the kernel refuses is lost. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    libc().symbols.sendto(this.#fd, bytes, bytes.length, 0, this.#remote, SOCKADDR_IN);
  }

  /** Waits for one datagram; returns its length, negative when none came in time. */
  receive(into: Uint8Array<ArrayBuffer>): number {
    return libc().symbols.recv(this.#fd, into, into.length, 0);
  }

  /** Sends up to {@link BATCH} datagrams of `size` bytes; returns how many the kernel took. */
  sendMany(count: number, size: number): number {
    this.#setSizes(size);
    return Math.max(0, libc().symbols.sendmmsg(this.#fd, this.#headers.pointer, count, 0));
  }

  /** Takes up to {@link BATCH} datagrams that are there, without waiting; returns how many. */
  takeMany(): number {
    this.#setSizes(DATAGRAM);
    const { recvmmsg } = libc().symbols;
    return Math.max(0, recvmmsg(this.#fd, this.#headers.pointer, BATCH, MSG_DONTWAIT, null));
  }

  close(): void {
    libc().symbols.close(this.#fd);
  }

  #set(option: number, value: Int32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>): void {
    const bytes = new Uint8Array(value.buffer);
    const { setsockopt } = libc().symbols;
    check("set an option", setsockopt(this.#fd, SOL_SOCKET, option, bytes, bytes.length));
  }

  /** Points every message at its payload and all of them at the one remote address. */
  #prepare(): void {
    const { words, bytes, address } = this.#headers;
    const nameAt = BATCH * (MMSGHDR + IOVEC);
    bytes.set(this.#remote, nameAt);
    for (let i = 0; i < BATCH; i++) {
      const at = i * MMSGHDR, iov = iovecOf(i);
      this.#headers.writeAddress(at + MSG.name, address + nameAt);
      words[(at + MSG.namelen) >> 2] = SOCKADDR_IN;
      this.#headers.writeAddress(at + MSG.iov, address + iov);
      words[(at + MSG.iovlen) >> 2] = 1;
      this.#headers.writeAddress(iov, this.#payloads.address + i * DATAGRAM);
    }
  }

  #setSizes(size: number): void {
    const { words } = this.#headers;
    if (words[(iovecOf(0) >> 2) + 2] === size) return;
    for (let i = 0; i < BATCH; i++) words[(iovecOf(i) >> 2) + 2] = size;
  }
}

let usleep: ((microseconds: number) => number) | undefined;

/** Blocks this thread; finer than the milliseconds of poll(2). */
export function sleepMicroseconds(microseconds: number): void {
  usleep ??= Deno.dlopen("libc.so.6", { usleep: { parameters: ["u32"], result: "i32" } })
    .symbols.usleep;
  usleep(microseconds);
}

function iovecOf(message: number): number {
  return BATCH * MMSGHDR + message * IOVEC;
}

function sockaddr({ ip, port }: Endpoint): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(SOCKADDR_IN));
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  ip.split(".").forEach((part, i) => view.setUint8(4 + i, Number(part)));
  return new Uint8Array(view.buffer);
}
