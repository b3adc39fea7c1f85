/**
 * Does this kernel cut up and join datagrams without harm? Some versions refuse at run time, and one
 * mangled equal datagrams, so it is tried over loopback before it is relied upon.
 * @module
 */
import { SeededRandom } from "../../random.ts";
import { libc, waitReadable } from "./libc.ts";
import { SOL_UDP, UDP_SEGMENT } from "./messages.ts";
import { openUdp, setOption } from "./udp.ts";

/** What works. */
export interface UdpOffloads {
  /** One message leaves as many datagrams (`UDP_SEGMENT`). */
  readonly gso: boolean;
  /** Many datagrams arrive as one message (`UDP_GRO`). */
  readonly gro: boolean;
}

/** Enough equal datagrams to meet the known faults, and a shorter last one. */
const SEGMENT = 1452, SEGMENTS = 10;
const TOTAL = SEGMENT * SEGMENTS + 700;
/** IPv6's name for this machine as an IPv4 peer would see it. */
const LOOPBACK = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1);
const ROOM = 65_536;
/** Loopback delivers at once, except on a machine that is very busy. */
const WAIT_MS = 100;

/** Sends a message to itself in every way that is wanted; what fails is not to be used. */
export function testUdpOffloads(wanted: UdpOffloads): UdpOffloads {
  const gso = wanted.gso && crosses(false);
  return { gso, gro: wanted.gro && gso && crosses(true) };
}

/** Whether a message that is cut up arrives whole, with joining or without. */
function crosses(joins: boolean): boolean {
  const [sender, receiver] = [openUdp(0, false), openUdp(0, joins)];
  try {
    if (!setOption(sender.fds[0]!, SOL_UDP, UDP_SEGMENT, SEGMENT)) return false;
    const message = new SeededRandom(1).bytes(TOTAL);
    if (!sender.send(message, LOOPBACK, receiver.port)) return false;
    const received = receiveAll(receiver.fds[0]!);
    return received.length === TOTAL && received.every((byte, i) => byte === message[i]);
  } finally {
    sender.close();
    receiver.close();
  }
}

/** What arrives, in one piece, until it is enough or nothing comes any more. */
function receiveAll(fd: number): Uint8Array {
  const received = new Uint8Array(TOTAL + ROOM);
  const room = new Uint8Array(ROOM);
  let total = 0;
  while (total < TOTAL && waitReadable(fd, WAIT_MS)) {
    const length = libc().symbols.recv(fd, room, ROOM, 0);
    if (length <= 0) break;
    received.set(room.subarray(0, length), total);
    total += length;
  }
  return received.subarray(0, total);
}
