/**
 * Which names under `in-addr.arpa` and `ip6.arpa` stand for an address, or for a range of them?
 * (RFC 1035 section 3.5, RFC 3596 section 2.5.)
 * @module
 */
import type { Prefix } from "../ip.ts";

/** A range that covers more zones than this gets none: it would be no mesh's own. */
const MAX_ZONES = 256;

/** The reverse name of 4 or 16 address bytes, lower case. */
export function reverseName(address: Uint8Array): string {
  return joinReverse(digits(address), address.length === 4);
}

/**
 * Apexes of the zones that make up exactly a range. A range that ends inside a digit takes several:
 * `172.16.0.0/12` is `16.172.in-addr.arpa` to `31.172.in-addr.arpa`.
 */
export function reverseZones(range: Prefix): string[] {
  const isIpv4 = range.bytes.length === 4;
  const digitBits = isIpv4 ? 8 : 4;
  const used = Math.ceil(range.bits / digitBits);
  const count = 2 ** (used * digitBits - range.bits);
  if (used === 0 || count > MAX_ZONES) return [];
  const head = digits(range.bytes).slice(0, used);
  return Array.from({ length: count }, (_, i) => {
    const last = head[used - 1]! + i;
    return joinReverse([...head.slice(0, -1), last], isIpv4);
  });
}

function digits(address: Uint8Array): number[] {
  if (address.length === 4) return [...address];
  return [...address].flatMap((byte) => [byte >> 4, byte & 15]);
}

function joinReverse(digits: readonly number[], isIpv4: boolean): string {
  const labels = digits.map((digit) => digit.toString(isIpv4 ? 10 : 16)).reverse();
  return `${labels.join(".")}.${isIpv4 ? "in-addr" : "ip6"}.arpa`;
}
