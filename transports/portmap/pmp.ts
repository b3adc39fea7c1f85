/**
 * Messages of NAT-PMP (RFC 6886) and PCP (RFC 6887): a router is asked for a UDP port on port 5351.
 *
 * Both begin with the version, which is how an answer is told apart. Hostile bytes: lengths are
 * checked, what is malformed is null.
 * @module
 */
import { formatIp, type Ip, parseIp } from "../../core/ip.ts";

/** Where routers listen. */
export const PMP_PORT = 5351;
const PMP_VERSION = 0;
const PCP_VERSION = 2;
const RESPONSE = 0x80;
const OP_EXTERNAL_ADDRESS = 0;
const OP_MAP_UDP = 1;
const PCP_MAP = 1;
const UDP = 17;
const PCP_BYTES = 60;
/** Bytes of the number that ties a PCP mapping to who made it. */
export const PCP_NONCE = 12;

/** Result codes in words for users, by protocol. */
const PMP_RESULTS = [
  "done",
  "unsupported version",
  "not authorized",
  "network failure",
  "out of resources",
  "unsupported opcode",
];
const PCP_RESULTS = [
  "done",
  "unsupported version",
  "not authorized",
  "malformed request",
  "unsupported opcode",
  "unsupported option",
  "malformed option",
  "network failure",
  "no resources",
  "unsupported protocol",
  "user exceeded quota",
  "cannot provide external address",
  "address mismatch",
  "excessive remote peers",
];
const UNSUPPORTED_VERSION = 1;

/** What a router answered. */
export type PmpAnswer =
  | {
    readonly protocol: "nat-pmp";
    readonly type: "address";
    readonly epochSeconds: number;
    readonly external: Ip;
  }
  | {
    readonly protocol: "nat-pmp" | "pcp";
    readonly type: "mapped";
    readonly epochSeconds: number;
    readonly internalPort: number;
    readonly externalPort: number;
    /** Null for NAT-PMP, which tells it in another answer. */
    readonly external: Ip | null;
    readonly lifetimeSeconds: number;
    /** Hex; empty for NAT-PMP. */
    readonly nonce: string;
  }
  | {
    readonly protocol: "nat-pmp" | "pcp";
    readonly type: "refused";
    readonly why: string;
    readonly isOtherVersion: boolean;
  };

/** Asks a NAT-PMP router for its address outside. */
export function encodePmpAddress(): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(PMP_VERSION, OP_EXTERNAL_ADDRESS);
}

/** Asks a NAT-PMP router for a port; a lifetime of 0 gives it back. */
export function encodePmpMap(
  internalPort: number,
  externalPort: number,
  lifetimeSeconds: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint8(1, OP_MAP_UDP);
  view.setUint16(4, internalPort);
  view.setUint16(6, externalPort);
  view.setUint32(8, lifetimeSeconds);
  return bytes;
}

/** Asks a PCP router for a port, or a firewall for a pinhole where `client` is IPv6. */
export function encodePcpMap(
  map: {
    readonly client: Ip;
    readonly nonce: Uint8Array;
    readonly internalPort: number;
    readonly externalPort: number;
    readonly lifetimeSeconds: number;
  },
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PCP_BYTES);
  const view = new DataView(bytes.buffer);
  const isV6 = map.client.includes(":");
  view.setUint8(0, PCP_VERSION);
  view.setUint8(1, PCP_MAP);
  view.setUint32(4, map.lifetimeSeconds);
  bytes.set(mapped16(map.client), 8);
  bytes.set(map.nonce, 24);
  view.setUint8(36, UDP);
  view.setUint16(40, map.internalPort);
  view.setUint16(42, map.externalPort);
  // No wish for an address, of the client's family (RFC 6887 section 11.1).
  bytes.set(mapped16(isV6 ? "::" : "0.0.0.0"), 44);
  return bytes;
}

/** Reads an answer of either protocol. */
export function decodePmp(bytes: Uint8Array): PmpAnswer | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || (bytes[1]! & RESPONSE) === 0) return null;
  return bytes[0] === PCP_VERSION ? decodePcp(bytes, view) : decodeNatPmp(bytes, view);
}

function decodeNatPmp(bytes: Uint8Array, view: DataView): PmpAnswer | null {
  if (bytes[0] !== PMP_VERSION || bytes.length < 8) return null;
  const protocol = "nat-pmp";
  const result = view.getUint16(2);
  if (result !== 0) return refused(protocol, PMP_RESULTS, result);
  const epochSeconds = view.getUint32(4);
  switch (bytes[1]! & ~RESPONSE) {
    case OP_EXTERNAL_ADDRESS:
      if (bytes.length < 12) return null;
      return { protocol, type: "address", epochSeconds, external: formatIp(bytes.slice(8, 12)) };
    case OP_MAP_UDP:
      if (bytes.length < 16) return null;
      return {
        protocol,
        type: "mapped",
        epochSeconds,
        internalPort: view.getUint16(8),
        externalPort: view.getUint16(10),
        external: null,
        lifetimeSeconds: view.getUint32(12),
        nonce: "",
      };
    default:
      return null;
  }
}

function decodePcp(bytes: Uint8Array, view: DataView): PmpAnswer | null {
  const protocol = "pcp";
  if (bytes.length < 24 || (bytes[1]! & ~RESPONSE) !== PCP_MAP) return null;
  if (bytes[3] !== 0) return refused(protocol, PCP_RESULTS, bytes[3]!);
  if (bytes.length < PCP_BYTES || bytes[36] !== UDP) return null;
  const address = bytes.slice(44, 60);
  const isV4 = address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff &&
    address[11] === 0xff;
  return {
    protocol,
    type: "mapped",
    epochSeconds: view.getUint32(8),
    lifetimeSeconds: view.getUint32(4),
    nonce: bytes.slice(24, 36).toHex(),
    internalPort: view.getUint16(40),
    externalPort: view.getUint16(42),
    external: formatIp(isV4 ? address.slice(12) : address),
  };
}

function refused(protocol: "nat-pmp" | "pcp", names: readonly string[], code: number): PmpAnswer {
  const why = names[code] ?? `result ${code}`;
  return { protocol, type: "refused", why, isOtherVersion: code === UNSUPPORTED_VERSION };
}

function mapped16(ip: Ip): Uint8Array {
  const bytes = parseIp(ip)!;
  if (bytes.length === 16) return bytes;
  const out = new Uint8Array(16);
  out.fill(0xff, 10, 12);
  out.set(bytes, 12);
  return out;
}
