/**
 * Layout of the structures of sendmmsg(2) and recvmmsg(2) on 64-bit Linux, in bytes.
 * @module
 */

/** struct msghdr, which struct mmsghdr begins with. */
export const MSG = {
  name: 0,
  namelen: 8,
  iov: 16,
  iovlen: 24,
  control: 32,
  controllen: 40,
  flags: 48,
} as const;
/** `msg_len` in struct mmsghdr. */
export const MSG_LENGTH = 56;
export const MMSGHDR = 64;
export const IOVEC = 16;
/** Room for a control message with one 16-bit value. */
export const CMSG = 24;
/** Room for a socket address. */
export const NAME = 32;

export const SOL_UDP = 17;
/** Control messages and options (udp(7)). */
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
