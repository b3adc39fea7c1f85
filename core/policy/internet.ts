/**
 * What is the Internet, to an exit node's filter? Every address that is routed globally: who may use
 * an exit may not thereby reach the networks that the exit stands in. Those are routes.
 * @module
 */
import { parsePrefix, type Prefix, prefixContains } from "../ip.ts";

/** Not global unicast (IANA's IPv4 special-purpose registry, as far as ranges of networks go). */
const LOCAL_RANGES = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "224.0.0.0/3",
];

/** All that IANA has assigned for global unicast. */
const GLOBAL_IPV6 = "2000::/3";

let prefixes: readonly Prefix[] | undefined;

/** The fewest prefixes that are exactly the Internet. */
export function internetPrefixes(): readonly Prefix[] {
  prefixes ??= [
    ...without(
      { bytes: new Uint8Array(4), bits: 0 },
      LOCAL_RANGES.map((text) => parsePrefix(text)!),
    ),
    parsePrefix(GLOBAL_IPV6)!,
  ];
  return prefixes;
}

/** The fewest prefixes that are all of `range` but what is in `taken`. */
export function without(range: Prefix, taken: readonly Prefix[]): Prefix[] {
  const inside = taken.filter((each) => prefixContains(range, each.bytes));
  if (taken.some((each) => each.bits <= range.bits && prefixContains(each, range.bytes))) return [];
  if (inside.length === 0) return [range];
  return halves(range).flatMap((half) => without(half, inside));
}

function halves({ bytes, bits }: Prefix): Prefix[] {
  const upper = bytes.slice();
  upper[bits >> 3] = upper[bits >> 3]! | 0x80 >> (bits & 7);
  return [{ bytes, bits: bits + 1 }, { bytes: upper, bits: bits + 1 }];
}
