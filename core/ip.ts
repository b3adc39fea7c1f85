/**
 * IPv4 and IPv6 addresses, prefixes and UDP endpoints: text to bytes and back.
 *
 * Control-plane code keeps addresses as canonical text (RFC 5952 for IPv6), so that equal
 * addresses are equal strings; the packet path works on the bytes.
 * @module
 */

/** Canonical text of an address, e.g. `172.30.0.5` or `fd00::5`. */
export type Ip = string;

/** Canonical `address:port` text, IPv6 in brackets: `192.0.2.1:51820`, `[2001:db8::1]:51820`. */
export type Endpoint = string;

/** An address range: the first `bits` bits of `bytes` (4 or 16 of them). */
export interface Prefix {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/** Returns the 4 or 16 bytes of an address, or null when `text` is none. */
export function parseIp(text: string): Uint8Array | null {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Uint8Array | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return null;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1]!;
    // "010" is octal to some parsers: refuse what two programs could read differently.
    if (Number(part) > 255 || (part.length > 1 && part[0] === "0")) return null;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | null {
  let source = text;
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(source);
  if (tail) {
    const v4 = parseIpv4(tail[2]!);
    if (!v4) return null;
    source = tail[1]! + ((v4[0]! << 8) | v4[1]!).toString(16) + ":" +
      ((v4[2]! << 8) | v4[3]!).toString(16);
  }
  const halves = source.split("::");
  if (halves.length > 2) return null;
  const left = halves[0] === "" ? [] : halves[0]!.split(":");
  const right = halves.length === 1 || halves[1] === "" ? [] : halves[1]!.split(":");
  const missing = 8 - left.length - right.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const groups = [...left, ...Array<string>(halves.length === 2 ? missing : 0).fill("0"), ...right];
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 8; i++) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(groups[i]!)) return null;
    const value = parseInt(groups[i]!, 16);
    bytes[2 * i] = value >> 8;
    bytes[2 * i + 1] = value & 0xff;
  }
  return bytes;
}

/** Canonical text of 4 or 16 bytes (RFC 5952 section 4). An IPv4-mapped address stays IPv6. */
export function formatIp(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return bytes.join(".");
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  let best = { start: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > best.length) best = { start: i, length };
    i += length;
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(":");
  return hex.slice(0, best.start).join(":") + "::" + hex.slice(best.start + best.length).join(":");
}

/** Canonical text of an address written in any way, or null. */
export function canonicalIp(text: string): Ip | null {
  const bytes = parseIp(text);
  return bytes && formatIp(bytes);
}

/** Parses `10.0.0.0/8`, `fd00::/48`; a bare address is a host prefix. Host bits must be zero. */
export function parsePrefix(text: string): Prefix | null {
  const [address, length, ...rest] = text.split("/");
  const bytes = parseIp(address!);
  if (!bytes || rest.length > 0) return null;
  const most = bytes.length * 8;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return null;
  const bits = length === undefined ? most : Number(length);
  if (bits > most) return null;
  const masked = maskBytes(bytes, bits);
  return masked.every((byte, i) => byte === bytes[i]) ? { bytes, bits } : null;
}

/** Text of a prefix, always with its length. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix.bytes)}/${prefix.bits}`;
}

/** Copies `bytes` with all but the first `bits` bits cleared. */
export function maskBytes(bytes: Uint8Array, bits: number): Uint8Array {
  return bytes.map((byte, i) => {
    const keep = Math.min(8, Math.max(0, bits - 8 * i));
    return byte & (0xff00 >> keep) & 0xff;
  });
}

/** Whether `address` (4 or 16 bytes) lies in `prefix`. */
export function prefixContains(prefix: Prefix, address: Uint8Array): boolean {
  if (prefix.bytes.length !== address.length) return false;
  const masked = maskBytes(address, prefix.bits);
  return masked.every((byte, i) => byte === prefix.bytes[i]);
}

/** Whether two prefixes share an address. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return a.bits <= b.bits ? prefixContains(a, b.bytes) : prefixContains(b, a.bytes);
}

/** Makes endpoint text of an address and port. */
export function formatEndpoint(ip: Ip, port: number): Endpoint {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Splits endpoint text; null when it is none. The address comes back canonical. */
export function parseEndpoint(text: string): { ip: Ip; port: number } | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  if (!match) return null;
  const ip = canonicalIp(match[1] ?? match[2]!);
  const port = Number(match[3]);
  if (!ip || port < 1 || port > 65535 || ip.includes(":") !== (match[1] !== undefined)) return null;
  return { ip, port };
}
