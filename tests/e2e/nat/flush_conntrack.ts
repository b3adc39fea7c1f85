/**
 * Makes this machine forget every connection it tracks, and with them all address translations.
 * Usage: flush_conntrack.ts
 *
 * The kernel's own interface for it, netfilter netlink: what `conntrack -F` does, without another
 * package to install.
 * @module
 */
import { libc, SOCK_CLOEXEC, SOCK_RAW } from "../../../core/platform/linux/libc.ts";

const AF_NETLINK = 16;
const NETLINK_NETFILTER = 12;
/** A header (struct nlmsghdr) and struct nfgenmsg; no attributes: all connections. */
const REQUEST_BYTES = 20;
const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
/** Where the answer (NLMSG_ERROR) has its error number, 0 for success. */
const ERROR_OFFSET = 16;

const { symbols, errno } = libc();
const socket = symbols.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
if (socket < 0) throw new Error(`Cannot open a netlink socket: errno ${errno()}`);

const request = new DataView(new ArrayBuffer(REQUEST_BYTES));
request.setUint32(0, REQUEST_BYTES, true);
request.setUint16(4, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, true);
request.setUint16(6, NLM_F_REQUEST | NLM_F_ACK, true);
const sent = symbols.sendto(socket, new Uint8Array(request.buffer), REQUEST_BYTES, 0, null, 0);
if (sent < 0) throw new Error(`Cannot flush connection tracking: errno ${errno()}`);

const answer = new Uint8Array(256);
const length = symbols.recv(socket, answer, answer.length, 0);
const error = new DataView(answer.buffer).getInt32(ERROR_OFFSET, true);
if (length < 0 || error !== 0) throw new Error(`Cannot flush connection tracking: error ${error}`);
symbols.close(socket);
