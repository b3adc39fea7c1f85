/**
 * Echo requests (RFC 792, RFC 4443) through the kernel and so through the tunnel, timed here.
 * @module
 */
import { type Ip, parseIp } from "../../ip.ts";
import { assert } from "../../assert.ts";
import {
  AF_INET,
  AF_INET6,
  check,
  libc,
  POLLIN,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
} from "./libc.ts";

const IPPROTO_ICMP = 1, IPPROTO_ICMPV6 = 58;
const PAYLOAD = 56;

/** Sends echo requests to one address; dispose of it after use. */
export class EchoSocket {
  readonly #fd: number;
  readonly #isIpv6: boolean;
  readonly #name: Uint8Array<ArrayBuffer>;
  readonly #id: number;

  /** @throws {MeshError} `privilege-missing` without the right to raw sockets. */
  constructor(address: Ip, id: number) {
    const bytes = parseIp(address);
    assert(bytes !== null, `address ${address} is not canonical`);
    this.#isIpv6 = bytes.length === 16;
    this.#id = id & 0xffff;
    const family = this.#isIpv6 ? AF_INET6 : AF_INET;
    this.#name = new Uint8Array(this.#isIpv6 ? 28 : 16);
    new DataView(this.#name.buffer).setUint16(0, family, true);
    this.#name.set(bytes, this.#isIpv6 ? 8 : 4);
    const protocol = this.#isIpv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    const type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;
    this.#fd = check("open a raw socket", libc().symbols.socket(family, type, protocol));
  }

  /** Sends one request; returns the round trip in milliseconds, or null after `timeoutMs`. */
  async echo(sequence: number, timeoutMs: number): Promise<number | null> {
    const request = this.#request(sequence);
    const { symbols } = libc();
    const start = performance.now();
    const sent = symbols.sendto(
      this.#fd,
      request,
      request.length,
      0,
      this.#name,
      this.#name.length,
    );
    if (sent < 0) return null;
    const reply = new Uint8Array(2048);
    const poll = new Uint8Array(8);
    const view = new DataView(poll.buffer);
    view.setInt32(0, this.#fd, true);
    view.setInt16(4, POLLIN, true);
    for (;;) {
      const length = symbols.recv(this.#fd, reply, reply.length, 0);
      const now = performance.now();
      if (length > 0 && this.#isReply(reply.subarray(0, length), sequence)) return now - start;
      if (length > 0) continue;
      const left = timeoutMs - (now - start);
      if (left <= 0) return null;
      await symbols.pollAsync(poll, 1, Math.ceil(left));
    }
  }

  [Symbol.dispose](): void {
    libc().symbols.close(this.#fd);
  }

  #request(sequence: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(8 + PAYLOAD);
    const view = new DataView(bytes.buffer);
    bytes[0] = this.#isIpv6 ? 128 : 8;
    view.setUint16(4, this.#id);
    view.setUint16(6, sequence & 0xffff);
    // The kernel fills in the checksum of ICMPv6, not that of ICMP.
    if (!this.#isIpv6) view.setUint16(2, checksum(bytes));
    return bytes;
  }

  /** IPv4 raw sockets deliver the IP header too, IPv6 ones do not. */
  #isReply(packet: Uint8Array, sequence: number): boolean {
    const at = this.#isIpv6 ? 0 : (packet[0]! & 15) * 4;
    if (packet.length < at + 8 || packet[at] !== (this.#isIpv6 ? 129 : 0)) return false;
    const view = new DataView(packet.buffer, packet.byteOffset + at);
    return view.getUint16(4) === this.#id && view.getUint16(6) === (sequence & 0xffff);
  }
}

/** Internet checksum (RFC 1071) of an even number of bytes. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
