/**
 * Receives trains of datagrams on the control thread as the kernel joined them (`UDP_GRO`), from
 * any of its sockets: the memory is shared, since what was received is handled before the next.
 * @module
 */
import { formatEndpoint, formatIp } from "../../ip.ts";
import type { Endpoint, Ip } from "../../ip.ts";
import type { Train } from "../../link.ts";
import { AF_INET, libc } from "./libc.ts";
import { IOVEC, MMSGHDR, MSG, MSG_LENGTH, NAME, SOL_UDP, UDP_GRO } from "./messages.ts";
import { PinnedMemory } from "./pinned.ts";

/** Messages of one system call. */
const MESSAGES = 16;
/** Room for one message; a train of UDP is smaller. */
const MESSAGE_BYTES = 65_536;
const CONTROL = 32;
/** Length of the control message that tells a segment size: header and a 32-bit number. */
const GRO_CONTROL = 20;

/** Memory for one recvmmsg(2) call. */
export class TrainReceiver {
  readonly #memory = new PinnedMemory(MESSAGES * MESSAGE_BYTES);
  readonly #headers = new PinnedMemory(MESSAGES * (MMSGHDR + IOVEC + NAME + CONTROL));

  constructor() {
    const { words, address } = this.#headers;
    for (let i = 0; i < MESSAGES; i++) {
      const iov = MESSAGES * MMSGHDR + i * IOVEC;
      this.#headers.writeAddress(iov, this.#memory.address + i * MESSAGE_BYTES);
      words[(iov >> 2) + 2] = MESSAGE_BYTES;
      const at = i * MMSGHDR;
      this.#headers.writeAddress(at + MSG.name, address + nameOffset(i));
      this.#headers.writeAddress(at + MSG.iov, address + iov);
      words[(at + MSG.iovlen) >> 2] = 1;
      this.#headers.writeAddress(at + MSG.control, address + controlOffset(i));
    }
  }

  /** Receives what a non-blocking socket holds; returns the number of trains, 0 for none. */
  receive(fd: number): number {
    const { words } = this.#headers;
    for (let i = 0; i < MESSAGES; i++) {
      words[(i * MMSGHDR + MSG.namelen) >> 2] = NAME;
      words[(i * MMSGHDR + MSG.controllen) >> 2] = CONTROL;
    }
    // An error of the socket, such as a port that nobody listens on, is read and so cleared.
    const count = libc().symbols.recvmmsg(fd, this.#headers.pointer, MESSAGES, 0, null);
    return Math.max(0, count);
  }

  /** The `i`-th train of the last {@link receive}, valid until the next; null when it is empty. */
  train(i: number): Train | null {
    const length = this.#headers.words[(i * MMSGHDR + MSG_LENGTH) >> 2]!;
    if (length === 0) return null;
    const start = i * MESSAGE_BYTES;
    const bytes = this.#memory.bytes.subarray(start, start + length);
    return { bytes, segment: this.#segment(i) || length };
  }

  /** Where the `i`-th train came from. */
  source(i: number): Endpoint {
    const { ip, port } = this.sourceParts(i);
    return formatEndpoint(ip, port);
  }

  /** The parts of {@link source}. */
  sourceParts(i: number): { readonly ip: Ip; readonly port: number } {
    const { view, bytes } = this.#headers;
    const at = nameOffset(i);
    const isIpv4 = view.getUint16(at, true) === AF_INET;
    const ip = isIpv4 ? bytes.subarray(at + 4, at + 8) : unmapped(bytes.subarray(at + 8, at + 24));
    return { ip: formatIp(ip), port: view.getUint16(at + 2) };
  }

  /** The size of the datagrams that GRO joined, or 0. */
  #segment(i: number): number {
    const { words, view } = this.#headers;
    if (words[(i * MMSGHDR + MSG.controllen) >> 2]! < GRO_CONTROL) return 0;
    const at = controlOffset(i);
    const isGro = view.getInt32(at + 8, true) === SOL_UDP &&
      view.getInt32(at + 12, true) === UDP_GRO;
    return isGro ? view.getInt32(at + 16, true) : 0;
  }
}

/** An IPv4 address in its own four bytes when it is mapped (RFC 4291 section 2.5.5.2). */
function unmapped(ip: Uint8Array): Uint8Array {
  const isMapped = ip[10] === 0xff && ip[11] === 0xff && ip.subarray(0, 10).every((b) => b === 0);
  return isMapped ? ip.subarray(12) : ip;
}

function nameOffset(i: number): number {
  return MESSAGES * (MMSGHDR + IOVEC) + i * (NAME + CONTROL);
}

function controlOffset(i: number): number {
  return nameOffset(i) + NAME;
}
