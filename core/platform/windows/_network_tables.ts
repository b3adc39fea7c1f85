/**
 * Tables as Windows makes them, for tests.
 * @module
 */
import { parseIp } from "../../ip.ts";
import { type NetworkTables, ROW_BYTES } from "./network_tables.ts";

export interface InterfaceRow {
  readonly family?: number;
  readonly index?: number;
  readonly mtu?: number;
  readonly isConnected?: boolean;
}

export interface AddressRow {
  readonly ip: string;
  readonly bits?: number;
  readonly index?: number;
  readonly dadState?: number;
}

export interface RouteRow {
  readonly ip: string;
  readonly bits: number;
  readonly via: string;
  readonly index?: number;
  readonly metric?: number;
  readonly isLoopback?: boolean;
}

/** A row of so many bytes, whose other ones are not 0: nothing may depend on them. */
function row(length: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length).fill(0xa5);
  write(new DataView(bytes.buffer));
  return bytes;
}

/** Writes SOCKADDR_INET. */
function writeSockAddr(view: DataView, at: number, text: string): void {
  const ip = parseIp(text)!;
  view.setUint16(at, ip.length === 4 ? 2 : 23, true);
  ip.forEach((byte, i) => view.setUint8(at + (ip.length === 4 ? 4 : 8) + i, byte));
}

/** MIB_IPINTERFACE_ROW. The identifier is the index. */
export function interfaceRow(fields: InterfaceRow): Uint8Array {
  const { family = 2, index = 7, mtu = 1500, isConnected = true } = fields;
  return row(168, (view) => {
    view.setUint16(0, family, true);
    view.setBigUint64(8, BigInt(index), true);
    view.setUint32(16, index, true);
    view.setUint32(152, mtu, true);
    view.setUint8(156, isConnected ? 1 : 0);
  });
}

/** MIB_UNICASTIPADDRESS_ROW. */
export function addressRow({ ip, bits = 24, index = 7, dadState = 4 }: AddressRow): Uint8Array {
  return row(80, (view) => {
    writeSockAddr(view, 0, ip);
    view.setBigUint64(32, BigInt(index), true);
    view.setUint32(40, index, true);
    view.setUint8(60, bits);
    view.setUint32(64, dadState, true);
  });
}

/** MIB_IPFORWARD_ROW2. */
export function routeRow(fields: RouteRow): Uint8Array {
  const { ip, bits, via, index = 7, metric = 25, isLoopback = false } = fields;
  return row(104, (view) => {
    view.setBigUint64(0, BigInt(index), true);
    view.setUint32(8, index, true);
    writeSockAddr(view, 12, ip);
    view.setUint8(40, bits);
    writeSockAddr(view, 44, via);
    view.setUint32(84, metric, true);
    view.setUint8(92, isLoopback ? 1 : 0);
  });
}

/** A table of rows, with the number of them in front. */
export function table(rows: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const header = [rows.length & 255, rows.length >> 8, 0, 0, 0xa5, 0xa5, 0xa5, 0xa5];
  return Uint8Array.from([...header, ...rows.flatMap((each) => [...each])]);
}

/** All three, of what is given. */
export function tables(rows: {
  readonly interfaces?: readonly InterfaceRow[];
  readonly addresses?: readonly AddressRow[];
  readonly routes?: readonly RouteRow[];
}): Record<keyof NetworkTables, Uint8Array<ArrayBuffer>> {
  return {
    interfaces: table((rows.interfaces ?? []).map(interfaceRow)),
    addresses: table((rows.addresses ?? []).map(addressRow)),
    routes: table((rows.routes ?? []).map(routeRow)),
  } satisfies Record<keyof typeof ROW_BYTES, Uint8Array>;
}
