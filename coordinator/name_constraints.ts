/**
 * The X.509 extension that limits which names a CA may speak for (RFC 5280 section 4.2.1.10), which
 * the certificate library does not make.
 * @module
 */
import { concatBytes, utf8 } from "../core/bytes.ts";
import { maskBytes, type Prefix } from "../core/ip.ts";

/** Object identifier of the extension. */
export const NAME_CONSTRAINTS_OID = "2.5.29.30";

const SEQUENCE = 0x30, PERMITTED = 0xa0, DNS_NAME = 0x82, IP_ADDRESS = 0x87;

/** The extension's value: only these domains, with all below them, and these addresses. */
export function encodePermitted(
  domains: readonly string[],
  prefixes: readonly Prefix[],
): Uint8Array {
  const names = domains.map((domain) => tlv(DNS_NAME, utf8(domain)));
  const addresses = prefixes.map(({ bytes, bits }) => {
    const mask = maskBytes(new Uint8Array(bytes.length).fill(0xff), bits);
    return tlv(IP_ADDRESS, concatBytes(bytes, mask));
  });
  const subtrees = [...names, ...addresses].map((base) => tlv(SEQUENCE, base));
  return tlv(SEQUENCE, tlv(PERMITTED, concatBytes(...subtrees)));
}

/** One DER element; contents below 64 KiB. */
function tlv(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  const size = length < 128
    ? [length]
    : length < 256
    ? [0x81, length]
    : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...size), content);
}
