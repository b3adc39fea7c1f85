/**
 * Tells when this machine's network changes (netlink(7), rtnetlink(7)): an address, a route or an
 * interface came or went. The kernel calls; nothing is asked at intervals.
 * @module
 */
import { check, ERRNO, libc, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW } from "./libc.ts";
import { NetworkState } from "../network_state.ts";
import {
  EVENTS_LOST,
  type NetworkEvent,
  type NetworkWatch,
  type NetworkWatchOptions,
} from "../types_network.ts";
import { type NetlinkEvent, NLMSGHDR, parseNetlink, RTM } from "./netlink_parse.ts";
import type { Readiness } from "./readiness.ts";
import { setOption } from "./udp.ts";

const AF_NETLINK = 16, NETLINK_ROUTE = 0;
const SOCKADDR_NL = 12;
/** Multicast groups: LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE. */
const GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const NLM_F_REQUEST = 1, NLM_F_DUMP = 0x300;
const SOL_SOCKET = 1, SO_RCVBUFFORCE = 33;
/** Bytes; room for a burst such as a container engine's start. */
const RECEIVE_BUFFER = 1 << 20;
/** The kernel's messages are smaller. */
const MESSAGE_BYTES = 65_536;
/** Reads before the event loop has its turn. */
const MAX_ROUNDS = 64;

/** Calls `onChange` from `readiness`; the watch does not end by itself. */
export function watchNetlink(
  readiness: Readiness,
  { ignoreInterface, onChange }: Omit<NetworkWatchOptions, "onFailure">,
): NetworkWatch {
  const fd = openNetlink(NETLINK_ROUTE, GROUPS, "listen to network changes");
  setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
  const state = new NetworkState(ignoreInterface);
  const room = new Uint8Array(MESSAGE_BYTES);
  const close = () => {
    readiness.remove(fd);
    libc().symbols.close(fd);
  };
  try {
    readState(state);
    readiness.add(fd, () => {
      const events = receive(fd, room);
      const changes = events ? state.apply(events) : [EVENTS_LOST];
      if (!events) readState(state);
      if (changes.length > 0) onChange(changes);
    });
    return { close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Reads what is there; null when the kernel had no room for all of it. */
function receive(fd: number, room: Uint8Array<ArrayBuffer>): NetworkEvent[] | null {
  const { symbols, errno } = libc();
  const events: NetworkEvent[] = [];
  let isLost = false;
  // After a loss the kernel drops everything until the socket is empty, and says so only once.
  for (let round = 0; isLost || round < MAX_ROUNDS; round++) {
    const length = symbols.recv(fd, room, room.length, 0);
    if (length > 0) events.push(...withoutDone(parseNetlink(room.subarray(0, length)) ?? []));
    else if (errno() === ERRNO.ENOBUFS) isLost = true;
    else break;
  }
  return isLost ? null : events;
}

function withoutDone(events: readonly NetlinkEvent[]): NetworkEvent[] {
  return events.filter((event) => event.type !== "done");
}

/** Learns which interfaces and addresses there are. */
function readState(state: NetworkState): void {
  state.clear();
  const fd = openNetlink(NETLINK_ROUTE, 0, "listen to network changes");
  try {
    for (const type of [RTM.GETLINK, RTM.GETADDR]) dump(fd, type, state);
  } finally {
    libc().symbols.close(fd);
  }
}

/** Asks for all of one kind; the kernel makes up the answer as it is read, so nothing waits. */
function dump(fd: number, type: number, state: NetworkState): void {
  const { symbols } = libc();
  const request = new Uint8Array(NLMSGHDR + 16);
  const view = new DataView(request.buffer);
  view.setUint32(0, request.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, true);
  check("ask for interfaces", symbols.sendto(fd, request, request.length, 0, null, 0));
  const room = new Uint8Array(MESSAGE_BYTES);
  for (;;) {
    const length = symbols.recv(fd, room, room.length, 0);
    if (length <= 0) return;
    const events = parseNetlink(room.subarray(0, length)) ?? [];
    state.apply(withoutDone(events));
    if (events.some((event) => event.type === "done")) return;
  }
}

/**
 * Opens a netlink socket that hears of what `groups` name (netlink(7)).
 * @throws {MeshError} "system", which says that it cannot `purpose`.
 */
export function openNetlink(protocol: number, groups: number, purpose: string): number {
  const { symbols } = libc();
  const type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const fd = check("open a netlink socket", symbols.socket(AF_NETLINK, type, protocol));
  const name = new Uint8Array(SOCKADDR_NL);
  const view = new DataView(name.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(8, groups, true);
  if (symbols.bind(fd, name, SOCKADDR_NL) === 0) return fd;
  symbols.close(fd);
  return check(purpose, -1);
}
