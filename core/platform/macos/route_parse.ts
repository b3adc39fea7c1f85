/**
 * What does macOS tell of interfaces, addresses and routes? Messages of its routing socket, and of
 * the list of interfaces that sysctl(3) gives in the same form (route(4), `net/route.h`,
 * `net/if_var.h` of xnu). Only the parts are kept that say whether this machine is reached another
 * way than before.
 * @module
 */
import { formatIp, formatPrefix, maskBytes } from "../../ip.ts";
import { isOfLocalScope } from "../local_scope.ts";
import type {
  AddressEvent,
  LinkEvent,
  NetworkAction,
  NetworkEvent,
  RouteEvent,
} from "../types_network.ts";

/** Message types that matter; others, as of look-ups that failed (RTM_MISS), are passed over. */
export const RTM = {
  ADD: 1,
  DELETE: 2,
  CHANGE: 3,
  NEWADDR: 0xc,
  DELADDR: 0xd,
  IFINFO: 0xe,
} as const;

const RTM_VERSION = 5;
/** What all messages begin with: length (u16), version (u8), type (u8). */
const COMMON = 4;
/** Byte offsets in struct rt_msghdr, and its size. */
const RTM_HEADER = { index: 4, flags: 8, addrs: 12, errno: 24, size: 92 } as const;
/** In struct ifa_msghdr. */
const IFAM_HEADER = { addrs: 4, index: 12, size: 20 } as const;
/** In struct if_msghdr; `mtu` is in the struct if_data that ends it. */
const IFM_HEADER = { addrs: 4, flags: 8, index: 12, mtu: 24, size: 112 } as const;
/** Which addresses follow a header, in this order: bits of `addrs`. */
const RTA = { DST: 1, GATEWAY: 2, NETMASK: 4, IFP: 0x10, IFA: 0x20 } as const;
const RTAX_MAX = 8;
const RTF_HOST = 0x4, RTF_IFSCOPE = 0x1000000;
/** Neighbours, copies of routes for one destination, the machine's own addresses, broadcast. */
const RTF_NO_ROUTE = 0x400 | 0x20000 | 0x200000 | 0x400000 | 0x800000;
const IFF_UP = 1, IFF_RUNNING = 0x40;
const AF_INET = 2, AF_LINK = 18, AF_INET6 = 30;
/** Where an address begins in struct sockaddr_in and sockaddr_in6, and how many bytes it has. */
const IP_AT: Readonly<Record<number, { at: number; bytes: number }>> = {
  [AF_INET]: { at: 4, bytes: 4 },
  [AF_INET6]: { at: 8, bytes: 16 },
};
/** In struct sockaddr_dl: the length of the name, and the name. */
const SDL_NLEN = 5, SDL_DATA = 8;

/** One message with its header. */
interface Message {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** The addresses of a message by their bit, each with its length and family in front. */
type Addresses = ReadonlyMap<number, Uint8Array>;

/**
 * The events of what one read gave, without those that do not matter to a peer elsewhere. Null when
 * malformed, or of another version. A message about an interface that just changed has no name in
 * it (the list does), and the name is empty then.
 */
export function parseRouteMessages(bytes: Uint8Array): NetworkEvent[] | null {
  const view = viewOf(bytes);
  const events: NetworkEvent[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + COMMON > bytes.length) return null;
    const length = view.getUint16(at, true);
    if (length < COMMON || length > bytes.length - at) return null;
    if (view.getUint8(at + 2) !== RTM_VERSION) return null;
    const body = bytes.subarray(at, at + length);
    const parsed = parseMessage(view.getUint8(at + 3), { bytes: body, view: viewOf(body) });
    if (parsed === null) return null;
    events.push(...parsed);
    at += length;
  }
  return events;
}

function parseMessage(type: number, message: Message): NetworkEvent[] | null {
  switch (type) {
    case RTM.ADD:
      return parseRoute(["new"], message);
    case RTM.DELETE:
      return parseRoute(["del"], message);
    case RTM.CHANGE:
      // The route before is not told, so it counts as one that went and came.
      return parseRoute(["del", "new"], message);
    case RTM.NEWADDR:
      return parseAddress("new", message);
    case RTM.DELADDR:
      return parseAddress("del", message);
    case RTM.IFINFO:
      return parseLink(message);
    default:
      return [];
  }
}

function parseLink(message: Message): LinkEvent[] | null {
  const addresses = parseAddresses(message, IFM_HEADER);
  if (!addresses) return null;
  const { view } = message;
  const flags = view.getUint32(IFM_HEADER.flags, true);
  return [{
    type: "link",
    action: "new",
    index: view.getUint16(IFM_HEADER.index, true),
    name: readName(addresses.get(RTA.IFP)),
    alias: "",
    isUp: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0,
    mtu: view.getUint32(IFM_HEADER.mtu, true),
  }];
}

function parseAddress(action: NetworkAction, message: Message): AddressEvent[] | null {
  const addresses = parseAddresses(message, IFAM_HEADER);
  if (!addresses) return null;
  const ip = readIp(addresses.get(RTA.IFA));
  if (!ip || isOfLocalScope(ip)) return [];
  const index = message.view.getUint16(IFAM_HEADER.index, true);
  const bits = countBits(addresses.get(RTA.NETMASK), ip.length) ?? ip.length * 8;
  const address = `${formatIp(ip)}/${bits}`;
  return [{ type: "address", action, index, address, isUsable: true }];
}

/** One event for each of `actions`. */
function parseRoute(
  actions: readonly NetworkAction[],
  message: Message,
): RouteEvent[] | null {
  const addresses = parseAddresses(message, RTM_HEADER);
  if (!addresses) return null;
  const { view } = message;
  const flags = view.getUint32(RTM_HEADER.flags, true);
  // Requests that were refused are told to everybody too.
  const isRefused = view.getInt32(RTM_HEADER.errno, true) !== 0;
  const ip = readIp(addresses.get(RTA.DST));
  if (isRefused || (flags & RTF_NO_ROUTE) !== 0 || !ip || isOfLocalScope(ip)) return [];
  const mask = countBits(addresses.get(RTA.NETMASK), ip.length);
  const isHost = (flags & RTF_HOST) !== 0 || (mask === null && ip.some((byte) => byte !== 0));
  const bits = isHost ? ip.length * 8 : mask ?? 0;
  const gateway = readIp(addresses.get(RTA.GATEWAY));
  const route = {
    type: "route",
    index: view.getUint16(RTM_HEADER.index, true) || null,
    destination: bits === 0
      ? `default (IPv${ip.length === 4 ? 4 : 6})`
      : formatPrefix({ bytes: maskBytes(ip, bits), bits }),
    gateway: gateway && formatIp(gateway),
    // Routes of an interface alone are beside those that all sockets use.
    table: (flags & RTF_IFSCOPE) !== 0 ? 1 : 0,
    metric: 0,
  } as const;
  return actions.map((action) => ({ ...route, action }));
}

/** The addresses behind a header; null when they do not fit. */
function parseAddresses(
  { bytes, view }: Message,
  header: { readonly addrs: number; readonly size: number },
): Addresses | null {
  if (bytes.length < header.size) return null;
  const present = view.getUint32(header.addrs, true);
  const addresses = new Map<number, Uint8Array>();
  let at = header.size;
  for (let i = 0; i < RTAX_MAX && at < bytes.length; i++) {
    if ((present & (1 << i)) === 0) continue;
    const length = bytes[at]!;
    if (length > bytes.length - at) return null;
    addresses.set(1 << i, bytes.subarray(at, at + length));
    // An empty one takes room too: it is how the mask of the default route is written.
    at += length === 0 ? 4 : align(length);
  }
  return addresses;
}

/** The 4 or 16 bytes of an address; null when it is none of IP. */
function readIp(address: Uint8Array | undefined): Uint8Array | null {
  const place = IP_AT[address?.[1] ?? 0];
  if (!address || !place || address.length < place.at + place.bytes) return null;
  const ip = address.slice(place.at, place.at + place.bytes);
  // The kernel keeps the interface of a link-local address in its second word.
  if (ip[0] === 0xfe && (ip[1]! & 0xc0) === 0x80) ip.fill(0, 2, 4);
  return ip;
}

/**
 * The length of the prefix that a mask for an address of so many bytes says; null without one. Masks
 * end with their last byte that is not 0, and their family says nothing.
 */
function countBits(mask: Uint8Array | undefined, bytes: number): number | null {
  if (!mask) return null;
  const { at } = IP_AT[bytes === 4 ? AF_INET : AF_INET6]!;
  let bits = 0;
  for (const byte of mask.subarray(at, at + bytes)) {
    bits += Math.clz32(~(byte << 24));
    if (byte !== 0xff) break;
  }
  return bits;
}

function readName(address: Uint8Array | undefined): string {
  if (!address || address[1] !== AF_LINK || address.length < SDL_DATA) return "";
  return new TextDecoder().decode(address.subarray(SDL_DATA, SDL_DATA + address[SDL_NLEN]!));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Addresses begin at multiples of four. */
function align(length: number): number {
  return (length + 3) & ~3;
}
