/**
 * Messages as a Mac's kernel makes them, for tests.
 * @module
 */
import { RTM } from "./route_parse.ts";

/** A socket address, with the zeros behind it that fill the last word. */
export type SockAddr = readonly number[];

export function u16(value: number): number[] {
  return [value & 255, (value >> 8) & 255];
}

export function u32(value: number): number[] {
  return [...u16(value & 0xffff), ...u16(value >>> 16)];
}

function padded(bytes: readonly number[]): number[] {
  return [...bytes, ...Array<number>(-bytes.length & 3).fill(0)];
}

export function in4(...ip: readonly number[]): SockAddr {
  return [16, 2, 0, 0, ...ip, 0, 0, 0, 0, 0, 0, 0, 0];
}

export function in6(ip: readonly number[]): SockAddr {
  return [28, 30, 0, 0, 0, 0, 0, 0, ...ip, 0, 0, 0, 0];
}

/** A mask that ends with its last byte that is not 0. */
export function mask4(...bytes: readonly number[]): SockAddr {
  return padded([4 + bytes.length, 0xff, 0xff, 0xff, ...bytes]);
}

export function mask6(...bytes: readonly number[]): SockAddr {
  return padded([8 + bytes.length, 30, 0, 0, 0, 0, 0, 0, ...bytes]);
}

/** The mask of a default route. */
export const NO_MASK: SockAddr = [0, 0, 0, 0];

/** struct sockaddr_dl. */
export function linkAddress(index: number, name: string): SockAddr {
  const text = [...new TextEncoder().encode(name)];
  const data = [...text, ...Array<number>(Math.max(0, 12 - text.length)).fill(0)];
  return padded([8 + data.length, 18, ...u16(index), 6, text.length, 0, 0, ...data]);
}

function message(type: number, rest: readonly number[], version = 5): Uint8Array {
  return Uint8Array.from([...u16(rest.length + 4), version, type, ...rest]);
}

/** struct if_msghdr and what follows. */
export function ifInfo(index: number, flags: number, mtu: number, name?: string): Uint8Array {
  const address = name === undefined ? [] : linkAddress(index, name);
  const data = [6, 0, 0, 6, 14, 0, 0, 0, ...u32(mtu), ...Array<number>(84).fill(0)];
  const addrs = u32(name === undefined ? 0 : 0x10);
  return message(RTM.IFINFO, [...addrs, ...u32(flags), ...u16(index), 0, 0, ...data, ...address]);
}

/** struct ifa_msghdr and what follows. */
export function ifAddress(
  type: number,
  index: number,
  address: SockAddr,
  mask: SockAddr,
  name = "en0",
): Uint8Array {
  const header = [...u32(0x34), ...u32(0), ...u16(index), 0, 0, ...u32(0)];
  return message(type, [...header, ...mask, ...linkAddress(index, name), ...address]);
}

export interface RouteFields {
  readonly type?: number;
  readonly version?: number;
  readonly index?: number;
  readonly flags?: number;
  readonly errno?: number;
  /** Bits of what is in `addresses`. */
  readonly addrs?: number;
  readonly addresses: readonly SockAddr[];
}

/** struct rt_msghdr and what follows. */
export function route(fields: RouteFields): Uint8Array {
  const { type = RTM.ADD, index = 4, flags = 0x3, errno = 0, addrs = 7, addresses } = fields;
  const words = [flags, addrs, 321, 1, errno, 0, 0].flatMap(u32);
  const metrics = Array<number>(56).fill(0);
  const rest = [...u16(index), 0, 0, ...words, ...metrics, ...addresses.flat()];
  return message(type, rest, fields.version);
}
