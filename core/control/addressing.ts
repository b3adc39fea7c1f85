/**
 * Which addresses belong to a mesh and to a node of it, computed from ids alone where possible.
 *
 * The IPv6 prefix follows from the mesh id and a node's IPv6 address from its peer id, so nobody
 * has to be asked or trusted for either. Only IPv4 addresses are leased.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, fromHex, utf8 } from "../bytes.ts";
import type { PeerId } from "../ids.ts";
import {
  formatIp,
  formatPrefix,
  type Ip,
  maskBytes,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
} from "../ip.ts";

/** The mesh's unique local prefix (RFC 4193), a /48: `fd` and 40 bits of a hash of the mesh id. */
export function meshPrefix6(meshId: string): string {
  const global = sha256(utf8(`tunnelmesh-ula\0${meshId}`)).subarray(0, 5);
  return formatPrefix({
    bytes: concatBytes(Uint8Array.of(0xfd), global, new Uint8Array(10)),
    bits: 48,
  });
}

/** A node's IPv6 address: the /48, subnet 0, then the 64 bits of the peer id. */
export function meshAddress6(prefix6: string, id: PeerId): Ip {
  const bytes = parsePrefix(prefix6)!.bytes.slice();
  bytes.set(fromHex(id), 8);
  return formatIp(bytes);
}

/** Whether `text` is an address that a node may have in `prefix`: no network or broadcast one. */
export function isHostAddress4(prefix: Prefix, text: Ip): boolean {
  const bytes = parseIp(text);
  if (bytes?.length !== 4 || !prefixContains(prefix, bytes)) return false;
  const network = maskBytes(bytes, prefix.bits);
  const isNetwork = bytes.every((byte, i) => byte === network[i]);
  const isBroadcast = bytes.every((byte, i) => {
    const keep = Math.min(8, Math.max(0, prefix.bits - 8 * i));
    return byte === (network[i]! | (0xff >> keep));
  });
  return !isNetwork && !isBroadcast;
}
