/**
 * Sends a train of datagrams in one message that the kernel cuts up (`UDP_SEGMENT`), from sockets of
 * the control thread.
 * @module
 */
import type { Train } from "../../link.ts";
import { ERRNO, libc } from "./libc.ts";
import { CMSG, IOVEC, MMSGHDR, MSG, NAME, SOL_UDP, UDP_SEGMENT } from "./messages.ts";
import { PinnedMemory } from "./pinned.ts";

const IOV_AT = MMSGHDR, CONTROL_AT = MMSGHDR + IOVEC, NAME_AT = CONTROL_AT + CMSG;
/** Length of the control message that tells a segment size: header and a 16-bit number. */
const SEGMENT_CONTROL = 18;
/** What sendmmsg(2) answers when it cannot segment: by kernel version and cause. */
const REFUSES_GSO: readonly number[] = [ERRNO.EIO, ERRNO.EINVAL, ERRNO.EMSGSIZE];

/** A socket address, or null where the socket is connected. */
type Name = Uint8Array<ArrayBuffer> | null;

/** Memory for one sendmmsg(2) call. */
export class TrainSender {
  readonly #headers = new PinnedMemory(NAME_AT + NAME);

  constructor() {
    const { words, view, address } = this.#headers;
    this.#headers.writeAddress(MSG.name, address + NAME_AT);
    this.#headers.writeAddress(MSG.iov, address + IOV_AT);
    words[MSG.iovlen >> 2] = 1;
    this.#headers.writeAddress(MSG.control, address + CONTROL_AT);
    view.setUint32(CONTROL_AT, SEGMENT_CONTROL, true);
    view.setInt32(CONTROL_AT + 8, SOL_UDP, true);
    view.setInt32(CONTROL_AT + 12, UDP_SEGMENT, true);
  }

  /** Sends; false when all or the rest of the train was refused. */
  send(fd: number, train: Train, to: Name = null): boolean {
    const { bytes, segment } = train;
    if (bytes.length <= segment) return sendOne(fd, bytes, to);
    const { words, view, pointer } = this.#headers;
    words[MSG.namelen >> 2] = to?.length ?? 0;
    if (to) this.#headers.bytes.set(to, NAME_AT);
    const { symbols, errno } = libc();
    const start = Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>);
    this.#headers.writeAddress(IOV_AT, Number(Deno.UnsafePointer.value(start)));
    words[(IOV_AT >> 2) + 2] = bytes.length;
    view.setUint16(CONTROL_AT + 16, segment, true);
    words[MSG.controllen >> 2] = CMSG;
    if (symbols.sendmmsg(fd, pointer, 1, 0) === 1) return true;
    return REFUSES_GSO.includes(errno()) && sendSingly(fd, train, to);
  }
}

function sendSingly(fd: number, { bytes, segment }: Train, to: Name): boolean {
  for (let at = 0; at < bytes.length; at += segment) {
    if (!sendOne(fd, bytes.subarray(at, at + segment), to)) return false;
  }
  return true;
}

function sendOne(fd: number, bytes: Uint8Array, to: Name): boolean {
  const datagram = bytes as Uint8Array<ArrayBuffer>;
  return libc().symbols.sendto(fd, datagram, datagram.length, 0, to, to?.length ?? 0) >= 0;
}
