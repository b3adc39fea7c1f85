/**
 * What is in the tables that Windows keeps of interfaces, addresses and routes? Layouts of
 * `netioapi.h` on 64-bit Windows; parts that do not matter to a peer elsewhere are left out.
 * @module
 */
import { formatIp, formatPrefix, maskBytes } from "../../ip.ts";
import { isOfLocalScope } from "../local_scope.ts";
import type { AddressEvent, LinkEvent, NetworkEvent, RouteEvent } from "../types_network.ts";

/** Bytes before the first row: the number of rows (u32), and what aligns them. */
const TABLE_HEADER = 8;
/** Byte offsets in MIB_IPINTERFACE_ROW, of which an interface has one for each family; its size. */
const INTERFACE_ROW = { luid: 8, index: 16, mtu: 152, connected: 156, size: 168 } as const;
/** In MIB_UNICASTIPADDRESS_ROW. */
const ADDRESS_ROW = { address: 0, index: 40, prefix: 60, dadState: 64, size: 80 } as const;
/** In MIB_IPFORWARD_ROW2. */
const ROUTE_ROW = {
  index: 8,
  destination: 12,
  prefix: 40,
  nextHop: 44,
  metric: 84,
  loopback: 92,
  size: 104,
} as const;
/** In SOCKADDR_INET, a union: the family, and the address of each. */
const SOCKADDR = { family: 0, ip4: 4, ip6: 8 } as const;
const AF_INET = 2, AF_INET6 = 23;
/** NL_DAD_STATE: nobody else has the address, which is preferred or will end. */
const DAD_DEPRECATED = 3, DAD_PREFERRED = 4;

/** Bytes of a row of each table. */
export const ROW_BYTES = {
  interfaces: INTERFACE_ROW.size,
  addresses: ADDRESS_ROW.size,
  routes: ROUTE_ROW.size,
} as const;

/** The three tables, each as it is in memory. */
export type NetworkTables = Readonly<Record<keyof typeof ROW_BYTES, Uint8Array>>;

/** Bytes of a table, as its first ones tell. */
export function tableBytes(header: Uint8Array, rowBytes: number): number {
  return TABLE_HEADER + viewOf(header).getUint32(0, true) * rowBytes;
}

/**
 * What there is. Null when a table is shorter than it says.
 *
 * @param nameOf The name of an interface by its 8-byte identifier (NET_LUID).
 */
export function parseNetworkTables(
  tables: NetworkTables,
  nameOf: (luid: Uint8Array) => string,
): NetworkEvent[] | null {
  const interfaces = rowsOf(tables.interfaces, ROW_BYTES.interfaces);
  const addresses = rowsOf(tables.addresses, ROW_BYTES.addresses);
  const routes = rowsOf(tables.routes, ROW_BYTES.routes);
  if (!interfaces || !addresses || !routes) return null;
  return [
    ...parseLinks(interfaces, nameOf),
    ...addresses.flatMap((row) => parseAddress(row) ?? []),
    ...routes.flatMap((row) => parseRoute(row) ?? []),
  ];
}

function rowsOf(table: Uint8Array, rowBytes: number): DataView[] | null {
  if (table.length < TABLE_HEADER || table.length < tableBytes(table, rowBytes)) return null;
  const count = viewOf(table).getUint32(0, true);
  return Array.from({ length: count }, (_, i) => {
    return new DataView(table.buffer, table.byteOffset + TABLE_HEADER + i * rowBytes, rowBytes);
  });
}

/** One event for each interface, whose rows for IPv4 and IPv6 are one. */
function parseLinks(rows: readonly DataView[], nameOf: (luid: Uint8Array) => string): LinkEvent[] {
  const linksByIndex = new Map<number, LinkEvent>();
  for (const row of rows) {
    const index = row.getUint32(INTERFACE_ROW.index, true);
    const isConnected = row.getUint8(INTERFACE_ROW.connected) !== 0;
    const known = linksByIndex.get(index);
    linksByIndex.set(index, {
      type: "link",
      action: "new",
      index,
      name: known?.name ?? nameOf(bytesOf(row, INTERFACE_ROW.luid, 8)),
      alias: "",
      isUp: isConnected || known?.isUp === true,
      mtu: known?.mtu ?? row.getUint32(INTERFACE_ROW.mtu, true),
    });
  }
  return [...linksByIndex.values()];
}

function parseAddress(row: DataView): AddressEvent | null {
  const ip = readIp(row, ADDRESS_ROW.address);
  if (!ip || isOfLocalScope(ip)) return null;
  const state = row.getUint32(ADDRESS_ROW.dadState, true);
  return {
    type: "address",
    action: "new",
    index: row.getUint32(ADDRESS_ROW.index, true),
    address: `${formatIp(ip)}/${row.getUint8(ADDRESS_ROW.prefix)}`,
    isUsable: state === DAD_PREFERRED || state === DAD_DEPRECATED,
  };
}

function parseRoute(row: DataView): RouteEvent | null {
  const ip = readIp(row, ROUTE_ROW.destination);
  const isLoopback = row.getUint8(ROUTE_ROW.loopback) !== 0;
  if (!ip || isLoopback || isOfLocalScope(ip)) return null;
  const bits = Math.min(row.getUint8(ROUTE_ROW.prefix), ip.length * 8);
  const nextHop = readIp(row, ROUTE_ROW.nextHop);
  return {
    type: "route",
    action: "new",
    index: row.getUint32(ROUTE_ROW.index, true),
    destination: bits === 0
      ? `default (IPv${ip.length === 4 ? 4 : 6})`
      : formatPrefix({ bytes: maskBytes(ip, bits), bits }),
    // One of zeros is none: the destination is on the link.
    gateway: nextHop?.some((byte) => byte !== 0) ? formatIp(nextHop) : null,
    table: 0,
    metric: row.getUint32(ROUTE_ROW.metric, true),
  };
}

/** The 4 or 16 bytes of a SOCKADDR_INET; null when it is of neither family. */
function readIp(row: DataView, at: number): Uint8Array | null {
  switch (row.getUint16(at + SOCKADDR.family, true)) {
    case AF_INET:
      return bytesOf(row, at + SOCKADDR.ip4, 4);
    case AF_INET6:
      return bytesOf(row, at + SOCKADDR.ip6, 16);
    default:
      return null;
  }
}

function bytesOf(row: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(row.buffer, row.byteOffset + at, length);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
