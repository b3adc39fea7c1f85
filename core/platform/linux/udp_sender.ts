/**
 * Sends batches of sealed datagrams (sendmmsg(2)): neighbours of one peer and size leave as one
 * message that the kernel or the network card cuts up (`UDP_SEGMENT`).
 * @module
 */
import { MAX_PEERS, type SharedState } from "../../dataplane/layout.ts";
import { readEndpoint, readStandby } from "../../dataplane/rx_path.ts";
import type { DatagramSink } from "../../dataplane/tx_path.ts";
import { DROPS } from "../../drops.ts";
import { ERRNO, libc, POLLOUT } from "./libc.ts";
import { CMSG, IOVEC, MMSGHDR, MSG, NAME, SOL_UDP, UDP_SEGMENT } from "./messages.ts";
import { PinnedMemory } from "./pinned.ts";
import { type UdpSocket, writeSockaddr } from "./udp.ts";

/** Messages of one system call. */
const MESSAGES = 64;
/** Segments of one message (UDP_MAX_SEGMENTS before Linux 6.9). */
const MAX_SEGMENTS = 64;
/** Largest UDP payload over IPv4: 65,535 - 20 - 8. */
const MAX_BYTES = 65_507;
/** How long a full socket buffer may hold up the tunnel before datagrams are dropped. */
const FULL_MS = 50;
/** How long a path that refused segmentation is spared; its device may be another one by then. */
const REFUSED_MS = 60_000;
/** What sendmmsg(2) answers when it cannot segment: by kernel version and cause. */
const REFUSES_GSO: readonly number[] = [ERRNO.EIO, ERRNO.EINVAL, ERRNO.EMSGSIZE];
const DROP_SEND = DROPS.indexOf("send-failed");

/** What a sender works with. */
export interface UdpSenderOptions {
  readonly shared: SharedState;
  /** Whose drops are counted. */
  readonly worker: number;
  readonly socket: Pick<UdpSocket, "fd" | "family">;
  /** Where queued datagrams lie. */
  readonly memory: PinnedMemory;
  /** 64 KiB of it for datagrams from elsewhere, which are copied there. */
  readonly scratchAt: number;
  readonly mayUseGso: boolean;
}

/** Queues sealed datagrams and sends them with as few system calls as may be. */
export class UdpSender implements DatagramSink {
  readonly #options: UdpSenderOptions;
  readonly #headers = new PinnedMemory(MESSAGES * (MMSGHDR + IOVEC + CMSG + NAME));
  readonly #headerPointers: readonly Deno.PointerObject[];
  readonly #ip = new Uint8Array(16);
  readonly #poll = new Uint8Array(8);
  /** Queued messages: peer, first byte, bytes in all, bytes of each datagram but the last. */
  readonly #peer = new Int32Array(MESSAGES);
  readonly #at = new Float64Array(MESSAGES);
  readonly #total = new Int32Array(MESSAGES);
  readonly #size = new Int32Array(MESSAGES);
  #count = 0;
  /** Whether this flush has waited for a full socket buffer; once is enough. */
  #hasWaited = false;
  /** By peer: until when its path is sent single datagrams. */
  readonly #refusedUntil = new Float64Array(MAX_PEERS);

  constructor(options: UdpSenderOptions) {
    this.#options = options;
    this.#headerPointers = Array.from(
      { length: MESSAGES },
      (_, i) => this.#headers.at(i * MMSGHDR),
    );
    const view = new DataView(this.#poll.buffer);
    view.setInt32(0, options.socket.fd, true);
    view.setInt16(4, POLLOUT, true);
  }

  send(peer: number, bytes: Uint8Array, at: number, length: number): void {
    const { memory, scratchAt } = this.#options;
    if (bytes !== memory.bytes) {
      this.flush();
      memory.bytes.set(bytes.subarray(at, at + length), scratchAt);
      at = scratchAt;
    }
    const last = this.#count - 1;
    if (last >= 0 && this.#continues(last, peer, at, length)) {
      this.#total[last]! += length;
      return;
    }
    if (this.#count === MESSAGES) this.flush();
    const index = this.#count++;
    this.#peer[index] = peer;
    this.#at[index] = at;
    this.#total[index] = length;
    this.#size[index] = length;
  }

  flush(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    this.#hasWaited = false;
    this.#sendAll(count);
    this.#sendCopies(count);
  }

  #sendAll(count: number): void {
    for (let i = 0; i < count; i++) {
      const port = readEndpoint(this.#options.shared, this.#peer[i]!, this.#ip);
      this.#write(i, port, this.#at[i]!, this.#total[i]!, this.#size[i]!);
    }
    for (let sent = 0; sent < count;) {
      sent += this.#submit(sent, count);
      if (sent === count) return;
      const errno = libc().errno();
      if (this.#total[sent]! > this.#size[sent]! && REFUSES_GSO.includes(errno)) {
        // Segments beyond the path's MTU, or a device that cannot segment: other paths may differ.
        this.#refusedUntil[this.#peer[sent]!] = performance.now() + REFUSED_MS;
        return this.#sendSingly(sent, count);
      }
      this.#drop();
      sent++;
    }
  }

  /** Sends the same to the second endpoint of peers that have one, without insisting. */
  #sendCopies(count: number): void {
    let queued = 0;
    for (let i = 0; i < count; i++) {
      const port = readStandby(this.#options.shared, this.#peer[i]!, this.#ip);
      if (port === 0) continue;
      const end = this.#at[i]! + this.#total[i]!;
      for (let at = this.#at[i]!; at < end; at += this.#size[i]!) {
        const length = Math.min(this.#size[i]!, end - at);
        this.#write(queued++, port, at, length, length);
        if (queued === MESSAGES) queued = this.#submitAll(queued);
      }
    }
    if (queued > 0) this.#submitAll(queued);
  }

  #drop(): void {
    this.#options.shared.drop(this.#options.worker, DROP_SEND);
  }

  /** Whether a datagram can be the next segment of a queued message. */
  #continues(message: number, peer: number, at: number, length: number): boolean {
    const total = this.#total[message]!, size = this.#size[message]!;
    return this.#options.mayUseGso && this.#peer[message] === peer &&
      this.#at[message]! + total === at && !this.#isRefused(peer) &&
      // Only the last segment may be shorter.
      length <= size && total % size === 0 &&
      total + length <= MAX_BYTES && total < size * MAX_SEGMENTS;
  }

  #isRefused(peer: number): boolean {
    const until = this.#refusedUntil[peer]!;
    if (until === 0) return false;
    if (performance.now() < until) return true;
    this.#refusedUntil[peer] = 0;
    return false;
  }

  /** Sends the datagrams of messages `[first, count)`, and only of those, one by one. */
  #sendSingly(first: number, count: number): void {
    let queued = 0;
    for (let i = first; i < count; i++) {
      const end = this.#at[i]! + this.#total[i]!;
      const port = readEndpoint(this.#options.shared, this.#peer[i]!, this.#ip);
      for (let at = this.#at[i]!; at < end; at += this.#size[i]!) {
        const length = Math.min(this.#size[i]!, end - at);
        this.#write(queued++, port, at, length, length);
        if (queued === MESSAGES) queued = this.#submitAll(queued);
      }
    }
    this.#submitAll(queued);
  }

  /** Sends the written messages, dropping those that are refused. Returns 0. */
  #submitAll(count: number): 0 {
    for (let sent = 0; sent < count;) {
      sent += this.#submit(sent, count);
      if (sent === count) break;
      this.#drop();
      sent++;
    }
    return 0;
  }

  /** Sends written messages `[first, count)` until one is refused; returns how many went. */
  #submit(first: number, count: number): number {
    const { symbols, errno } = libc();
    const { fd } = this.#options.socket;
    let next = first;
    while (next < count) {
      const result = symbols.sendmmsg(fd, this.#headerPointers[next]!, count - next, 0);
      if (result > 0) {
        next += result;
      } else if (errno() === ERRNO.EAGAIN && !this.#hasWaited) {
        this.#hasWaited = true;
        symbols.poll(this.#poll, 1, FULL_MS);
      } else if (errno() !== ERRNO.EINTR) break;
    }
    return next - first;
  }

  /** Writes the headers of one message of `total` bytes in datagrams of `size` to {@link #ip}. */
  #write(index: number, port: number, from: number, total: number, size: number): void {
    const { words, view, address } = this.#headers;
    const { memory, socket } = this.#options;
    const nameAt = MESSAGES * (MMSGHDR + IOVEC + CMSG) + index * NAME;
    const iov = MESSAGES * MMSGHDR + index * IOVEC;
    const at = index * MMSGHDR;
    this.#headers.writeAddress(at + MSG.name, address + nameAt);
    // Port 0 cannot be sent to: the kernel refuses the message and it is counted as dropped.
    words[(at + MSG.namelen) >> 2] = writeSockaddr(view, nameAt, socket.family, this.#ip, port);
    this.#headers.writeAddress(at + MSG.iov, address + iov);
    words[(at + MSG.iovlen) >> 2] = 1;
    this.#headers.writeAddress(iov, memory.address + from);
    words[(iov >> 2) + 2] = total;
    words[(at + MSG.control) >> 2] = words[((at + MSG.control) >> 2) + 1] = 0;
    words[(at + MSG.controllen) >> 2] = 0;
    if (total <= size) return;
    const control = MESSAGES * (MMSGHDR + IOVEC) + index * CMSG;
    view.setUint32(control, 18, true);
    view.setInt32(control + 8, SOL_UDP, true);
    view.setInt32(control + 12, UDP_SEGMENT, true);
    view.setUint16(control + 16, size, true);
    this.#headers.writeAddress(at + MSG.control, address + control);
    words[(at + MSG.controllen) >> 2] = CMSG;
  }
}
