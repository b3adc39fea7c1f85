/**
 * Tells when another program has removed the kill switch or a policy rule of an exit: a reload of
 * the system's packet filter empties all of nftables, and systemd-networkd removes rules that it
 * does not know. The kernel calls; nothing is asked at intervals.
 *
 * Until all is put back by applying the plan again, what is left of the two keeps traffic inside:
 * without rules the kill switch drops it, without kill switch the routes lead into the tunnel.
 * @module
 */
import { RULE_PRIORITIES } from "../../exit/client_plan.ts";
import { ROUTE_PROTOCOL } from "../../exit/routing.ts";
import { ERRNO, libc } from "./libc.ts";
import { openNetlink } from "./netlink.ts";
import type { Readiness } from "./readiness.ts";

const NETLINK_ROUTE = 0, NETLINK_NETFILTER = 12;
const NLMSGHDR = 16, NFGENMSG = 4, FIB_RULE_HDR = 12, NLATTR = 4;
/** Multicast groups: tables and rules of nftables; IPV4_RULE and IPV6_RULE. */
const GROUP_NFTABLES = 1 << 6, GROUPS_RULE = 1 << 7 | 1 << 18;
const NEWTABLE = 10 << 8, DELTABLE = 10 << 8 | 2, DELRULE = 33;
const NFTA_TABLE_NAME = 1, FRA_PRIORITY = 6, FRA_PROTOCOL = 21;
const ATTRIBUTE_TYPE = 0x3fff;
/** The kernel's messages are smaller. */
const MESSAGE_BYTES = 65_536;

/** What is watched. */
export interface WatchedExit {
  /** Name of the kill switch's table. */
  readonly filter: string;
  /** The first of the rules' priorities. */
  readonly priority: number;
}

/** What a message says has happened to what is watched. */
export type ExitNews = "filter-new" | "filter-gone" | "rule-gone";

/** Calls `onLost` when something has been removed; close it before removing that. */
export function watchExit(
  readiness: Readiness,
  watched: WatchedExit,
  onLost: () => void,
): { close(): void } {
  const sockets = [
    openNetlink(NETLINK_NETFILTER, GROUP_NFTABLES, "listen to changes of the packet filter"),
    openNetlink(NETLINK_ROUTE, GROUPS_RULE, "listen to changes of the packet filter"),
  ];
  const room = new Uint8Array(MESSAGE_BYTES);
  for (const fd of sockets) {
    readiness.add(fd, () => {
      const news = receive(fd, room, watched);
      // One that was replaced is there again at the end.
      const ofFilter = news?.filter((each) => each !== "rule-gone").at(-1);
      const isLost = news === null || news.includes("rule-gone") || ofFilter === "filter-gone";
      if (isLost) onLost();
    });
  }
  return {
    close() {
      for (const fd of sockets) {
        readiness.remove(fd);
        libc().symbols.close(fd);
      }
    },
  };
}

/** What is in a datagram of the kernel; what cannot be understood says nothing. */
export function readNews(bytes: Uint8Array, watched: WatchedExit): ExitNews[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const news: ExitNews[] = [];
  for (let at = 0; at + NLMSGHDR <= bytes.length;) {
    const length = view.getUint32(at, true);
    if (length < NLMSGHDR || at + length > bytes.length) break;
    const type = view.getUint16(at + 4, true);
    const one = newsOf(type, bytes.subarray(at + NLMSGHDR, at + length), watched);
    if (one !== null) news.push(one);
    at += align(length);
  }
  return news;
}

function newsOf(type: number, body: Uint8Array, watched: WatchedExit): ExitNews | null {
  if (type === NEWTABLE || type === DELTABLE) {
    const name = attributes(body, NFGENMSG).get(NFTA_TABLE_NAME);
    if (name === undefined || text(name) !== watched.filter) return null;
    return type === NEWTABLE ? "filter-new" : "filter-gone";
  }
  if (type !== DELRULE) return null;
  const found = attributes(body, FIB_RULE_HDR);
  const priority = found.get(FRA_PRIORITY), protocol = found.get(FRA_PROTOCOL);
  if (priority?.length !== 4 || protocol?.[0] !== ROUTE_PROTOCOL) return null;
  const view = new DataView(priority.buffer, priority.byteOffset, 4);
  const place = view.getUint32(0, true) - watched.priority;
  return place >= 0 && place < RULE_PRIORITIES ? "rule-gone" : null;
}

function attributes(body: Uint8Array, from: number): Map<number, Uint8Array> {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const found = new Map<number, Uint8Array>();
  for (let at = from; at + NLATTR <= body.length;) {
    const length = view.getUint16(at, true);
    if (length < NLATTR || at + length > body.length) break;
    const type = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE;
    found.set(type, body.subarray(at + NLATTR, at + length));
    at += align(length);
  }
  return found;
}

/** A C string. */
function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}

function align(length: number): number {
  return (length + 3) & ~3;
}

/** Reads what is there; null when the kernel had no room for all of it. */
function receive(
  fd: number,
  room: Uint8Array<ArrayBuffer>,
  watched: WatchedExit,
): ExitNews[] | null {
  const { symbols, errno } = libc();
  const news: ExitNews[] = [];
  for (let isComplete = true;;) {
    const length = symbols.recv(fd, room, room.length, 0);
    if (length > 0) news.push(...readNews(room.subarray(0, length), watched));
    else if (errno() === ERRNO.ENOBUFS) isComplete = false;
    else return isComplete ? news : null;
  }
}
