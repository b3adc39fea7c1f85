/**
 * What does the kernel tell of interfaces, addresses and routes? Messages of rtnetlink(7), of which
 * only the parts are kept that say whether this machine is reached another way than before.
 * @module
 */
import { ROUTE_PROTOCOL } from "../../exit/routing.ts";
import { formatIp, type Ip } from "../../ip.ts";
import type {
  AddressEvent,
  LinkEvent,
  NetworkAction,
  NetworkEvent,
  RouteEvent,
} from "../types_network.ts";

/** Message types and what they are about. */
export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
} as const;

/** struct nlmsghdr: length, type, flags, sequence, port. */
export const NLMSGHDR = 16;
const NLMSG_DONE = 3;
/** Headers behind it: struct ifinfomsg, ifaddrmsg, rtmsg. */
const IFINFOMSG = 16, IFADDRMSG = 8, RTMSG = 12;
const AF_UNSPEC = 0, AF_INET = 2, AF_INET6 = 10;
const IFF_UP = 1, IFF_RUNNING = 0x40;
const IFLA_IFNAME = 3, IFLA_MTU = 4, IFLA_IFALIAS = 20;
const IFA_ADDRESS = 1, IFA_LOCAL = 2, IFA_FLAGS = 8;
const IFA_F_DADFAILED = 0x08, IFA_F_TENTATIVE = 0x40;
const RTA_DST = 1, RTA_OIF = 4, RTA_GATEWAY = 5, RTA_PRIORITY = 6, RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
/** Length and type of an attribute (struct rtattr), whose two highest bits are flags. */
const RTATTR = 4, ATTRIBUTE_TYPE = 0x3fff;
/** struct rtnexthop, which a list of gateways begins with; the interface is its second word. */
const RTNEXTHOP = 8;
const RT_SCOPE_LINK = 253, RT_TABLE_LOCAL = 255, RTM_F_CLONED = 0x200;
const RTN_UNICAST = 1, RTN_MULTICAST = 5;
const LINK_LOCAL = "fe80::";

/** One message; `done` ends the answer to a request. */
export type NetlinkEvent = NetworkEvent | { readonly type: "done" };

/** One message without its header. */
interface Body {
  readonly view: DataView;
  readonly bytes: Uint8Array;
}

type Attributes = ReadonlyMap<number, Body>;

/**
 * The events of what one read gave, without those that do not matter to a peer elsewhere: addresses
 * of loopback and link scope, routes to these, the table of local addresses, routes in caches. Null when malformed.
 */
export function parseNetlink(bytes: Uint8Array): NetlinkEvent[] | null {
  const view = viewOf(bytes);
  const events: NetlinkEvent[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + NLMSGHDR > bytes.length) return null;
    const length = view.getUint32(at, true);
    if (length < NLMSGHDR || length > bytes.length - at) return null;
    const body = bytes.subarray(at + NLMSGHDR, at + length);
    const event = parseMessage(view.getUint16(at + 4, true), { bytes: body, view: viewOf(body) });
    if (event === null) return null;
    if (event !== "other") events.push(event);
    at += align(length);
  }
  return events;
}

/** An event, `"other"` for what does not matter, null when malformed. */
function parseMessage(type: number, body: Body): NetlinkEvent | "other" | null {
  switch (type) {
    case NLMSG_DONE:
      return { type: "done" };
    case RTM.NEWLINK:
    case RTM.DELLINK:
      return parseLink(type === RTM.NEWLINK ? "new" : "del", body);
    case RTM.NEWADDR:
    case RTM.DELADDR:
      return parseAddress(type === RTM.NEWADDR ? "new" : "del", body);
    case RTM.NEWROUTE:
    case RTM.DELROUTE:
      return parseRoute(type === RTM.NEWROUTE ? "new" : "del", body);
    default:
      return "other";
  }
}

function parseLink(action: NetworkAction, body: Body): LinkEvent | "other" | null {
  const attributes = parseAttributes(body, IFINFOMSG);
  if (!attributes) return null;
  // Other families tell of the same interface as a port of a bridge, and of its end as one.
  if (body.view.getUint8(0) !== AF_UNSPEC) return "other";
  const flags = body.view.getUint32(8, true);
  return {
    type: "link",
    action,
    index: body.view.getInt32(4, true),
    name: readText(attributes, IFLA_IFNAME),
    alias: readText(attributes, IFLA_IFALIAS),
    isUp: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0,
    mtu: readNumber(attributes, IFLA_MTU) ?? 0,
  };
}

function readText(attributes: Attributes, type: number): string {
  const found = attributes.get(type);
  return found ? new TextDecoder().decode(found.bytes).replace(/\0.*$/s, "") : "";
}

function parseAddress(action: NetworkAction, body: Body): AddressEvent | "other" | null {
  const attributes = parseAttributes(body, IFADDRMSG);
  if (!attributes) return null;
  const { view } = body;
  const family = view.getUint8(0);
  if (view.getUint8(3) >= RT_SCOPE_LINK) return "other";
  // On a point-to-point interface the one without "local" is the other end's.
  const ip = readIp(attributes, IFA_LOCAL, family) ?? readIp(attributes, IFA_ADDRESS, family);
  if (ip === null) return isIp(family) ? null : "other";
  const flags = readNumber(attributes, IFA_FLAGS) ?? view.getUint8(2);
  return {
    type: "address",
    action,
    index: view.getUint32(4, true),
    address: `${ip}/${view.getUint8(1)}`,
    isUsable: (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) === 0,
  };
}

function parseRoute(action: NetworkAction, body: Body): RouteEvent | "other" | null {
  const attributes = parseAttributes(body, RTMSG);
  if (!attributes) return null;
  const { view } = body;
  const family = view.getUint8(0), bits = view.getUint8(1);
  const table = readNumber(attributes, RTA_TABLE) ?? view.getUint8(4);
  const isCached = (view.getUint32(8, true) & RTM_F_CLONED) !== 0;
  if (!isIp(family) || table === RT_TABLE_LOCAL || isCached) return "other";
  // Multicast, and the machine's own and broadcast addresses; above are routes that refuse.
  const type = view.getUint8(7);
  if (type > RTN_UNICAST && type <= RTN_MULTICAST) return "other";
  // What this program made itself, for exits and networks behind nodes.
  if (view.getUint8(5) === ROUTE_PROTOCOL) return "other";
  const destination = readIp(attributes, RTA_DST, family);
  if (destination === LINK_LOCAL) return "other";
  if (destination === null && bits > 0) return null;
  return {
    type: "route",
    action,
    index: readNumber(attributes, RTA_OIF) ?? firstNextHop(attributes),
    destination: bits === 0
      ? `default (IPv${family === AF_INET ? 4 : 6})`
      : `${destination}/${bits}`,
    gateway: readIp(attributes, RTA_GATEWAY, family),
    table,
    metric: readNumber(attributes, RTA_PRIORITY) ?? 0,
  };
}

/** The attributes behind a header of so many bytes; null when they do not fit. */
function parseAttributes({ bytes, view }: Body, header: number): Attributes | null {
  if (bytes.length < header) return null;
  const attributes = new Map<number, Body>();
  for (let at = header; at < bytes.length;) {
    if (at + RTATTR > bytes.length) return null;
    const length = view.getUint16(at, true);
    if (length < RTATTR || length > bytes.length - at) return null;
    const value = bytes.subarray(at + RTATTR, at + length);
    attributes.set(view.getUint16(at + 2, true) & ATTRIBUTE_TYPE, {
      bytes: value,
      view: viewOf(value),
    });
    at += align(length);
  }
  return attributes;
}

/** A 32-bit attribute, or null when it is absent or of another size. */
function readNumber(attributes: Attributes, type: number): number | null {
  const value = attributes.get(type);
  return value?.bytes.length === 4 ? value.view.getUint32(0, true) : null;
}

function readIp(attributes: Attributes, type: number, family: number): Ip | null {
  const value = attributes.get(type);
  const length = family === AF_INET ? 4 : 16;
  return isIp(family) && value?.bytes.length === length ? formatIp(value.bytes) : null;
}

function firstNextHop(attributes: Attributes): number | null {
  const hops = attributes.get(RTA_MULTIPATH);
  return hops && hops.bytes.length >= RTNEXTHOP ? hops.view.getInt32(4, true) : null;
}

function isIp(family: number): boolean {
  return family === AF_INET || family === AF_INET6;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Messages and attributes begin at multiples of four. */
function align(length: number): number {
  return (length + 3) & ~3;
}
