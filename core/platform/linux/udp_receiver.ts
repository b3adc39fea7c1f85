/**
 * Receives batches of datagrams (recvmmsg(2)), trains of which the kernel joined (`UDP_GRO`).
 * @module
 */
import { RX_TRAINS, TRAIN_BYTES } from "../../dataplane/memory.ts";
import { AF_INET, libc } from "./libc.ts";
import { IOVEC, MMSGHDR, MSG, MSG_LENGTH, NAME, SOL_UDP, UDP_GRO } from "./messages.ts";
import { PinnedMemory } from "./pinned.ts";
import { SOCKADDR_IN6, type UdpSocket } from "./udp.ts";

const RX_CONTROL = 32;

/** Receives batches of datagrams; {@link forEach} walks them, split where the kernel joined them. */
export class UdpReceiver {
  readonly #socket: Pick<UdpSocket, "fd">;
  readonly #trainsAt: number;
  readonly #headers: PinnedMemory;
  /** 16 address bytes of the datagram being walked. */
  readonly source = { bytes: new Uint8Array(16), at: 0, port: 0 };

  /** @param trainsAt Where in `memory` the `RX_TRAINS` messages of `TRAIN_BYTES` go. */
  constructor(socket: Pick<UdpSocket, "fd">, memory: PinnedMemory, trainsAt: number) {
    this.#socket = socket;
    this.#trainsAt = trainsAt;
    this.#headers = new PinnedMemory(RX_TRAINS * (MMSGHDR + IOVEC + NAME + RX_CONTROL));
    const { words, address } = this.#headers;
    for (let i = 0; i < RX_TRAINS; i++) {
      const iov = RX_TRAINS * MMSGHDR + i * IOVEC;
      this.#headers.writeAddress(iov, memory.address + trainsAt + i * TRAIN_BYTES);
      words[(iov >> 2) + 2] = TRAIN_BYTES;
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
    for (let i = 0; i < RX_TRAINS; i++) {
      words[(i * MMSGHDR + MSG.namelen) >> 2] = SOCKADDR_IN6;
      words[(i * MMSGHDR + MSG.controllen) >> 2] = RX_CONTROL;
    }
    const { symbols } = libc();
    return Math.max(
      0,
      symbols.recvmmsg(this.#socket.fd, this.#headers.pointer, RX_TRAINS, 0, null),
    );
  }

  /** Calls `each` for every datagram of the last {@link receive}; `source` is set for the call. */
  forEach(messages: number, each: (at: number, length: number) => void): void {
    for (let i = 0; i < messages; i++) {
      const total = this.#headers.words[(i * MMSGHDR + MSG_LENGTH) >> 2]!;
      this.#readSource(nameOffset(i));
      const segment = this.#segmentSize(i) || total;
      const start = this.#trainsAt + i * TRAIN_BYTES;
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
  return RX_TRAINS * (MMSGHDR + IOVEC) + i * (NAME + RX_CONTROL);
}
