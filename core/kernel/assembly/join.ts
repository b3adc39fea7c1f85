/**
 * The way in: packets of one stream become one super-packet again (GRO).
 *
 * One run is open at a time, so packets never overtake each other. Its packets stay where they
 * were received; the caller gathers them when it writes. All bytes may be an attacker's.
 * @module
 */
import {
  be16,
  checksumOffset,
  clearVnet,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  headerLength,
  isTransportIntact,
  protocolOf,
  pseudoSum,
  putBe16,
  sealIpHeader,
  TCP,
  transportOffset,
  UDP,
  VNET,
  writeVnet,
} from "./headers";
import { fold } from "./checksum";

/** Answers of {@link join}. */
const REFUSED: u32 = 0;
const ALONE: u32 = 1;
const STARTS: u32 = 2;
const JOINED: u32 = 3;

const ACK: u32 = 0x10;
const PSH: u32 = 0x08;
const DONT_FRAGMENT: u8 = 0x40;
/** What a TUN takes as one packet. */
const MAX_BYTES: u32 = 65_535;
/** Packets of a run: Linux takes no longer trains of UDP, and the caller's vector has an end. */
const MAX_PACKETS: u32 = 64;

/** The open run; `head` 0 for none. */
let head: usize = 0;
let transport: u32 = 0;
let protocol: u32 = 0;
let header: u32 = 0;
let size: u32 = 0;
let payload: u32 = 0;
let packets: u32 = 0;
let isEnded: bool = false;
let isPieces: bool = false;

/** Bytes before the payload of the packets of the open run. */
export function runHeader(): u32 {
  return header;
}

/**
 * Looks at the IP packet of `length` bytes (by its own header) at `at`.
 *
 * - 3: it joins the open run.
 * - 2: it may start a run; end the open one with {@link finish}, then call {@link start}.
 * - 1: it goes alone, after the open run has ended; its vnet header is written.
 * - 0: it must be dropped: a piece of no known kind.
 *
 * The `VNET` bytes before each packet are overwritten. With `isPiece` nonzero the packet came
 * without checksums. The last two say whether the TUN takes super-packets of TCP and of UDP.
 */
export function join(
  at: usize,
  length: u32,
  isPiece: u32,
  mayJoinTcp: u32,
  mayJoinUdp: u32,
): u32 {
  const l4 = transportOffset(at, length);
  const headers = l4 === 0 ? 0 : headerLength(at, length, l4);
  if (headers === 0) {
    if (isPiece) return REFUSED;
    clearVnet(at - VNET);
    return ALONE;
  }
  const proto = protocolOf(at, l4);
  const mayJoin = proto === UDP ? mayJoinUdp : mayJoinTcp;
  if (mayJoin && isJoinable(at, length, l4, headers, proto)) {
    if (continues(at, length, l4, headers, isPiece !== 0)) {
      if (isPiece || isTransportIntact(at, length, l4, proto)) {
        append(at, length);
        return JOINED;
      }
    } else if (isPiece || isTransportIntact(at, length, l4, proto)) {
      return STARTS;
    }
  }
  if (isPiece) return finishOne(at, length, l4, headers, proto);
  clearVnet(at - VNET);
  return ALONE;
}

/** Opens a run with a packet for which {@link join} answered 2. */
export function start(at: usize, length: u32, isPiece: u32): void {
  head = at;
  transport = transportOffset(at, length);
  protocol = protocolOf(at, transport);
  header = headerLength(at, length, transport);
  size = length - header;
  payload = size;
  packets = 1;
  isPieces = isPiece !== 0;
  isEnded = isPush(at, transport);
}

/** Closes the run: writes its vnet header and the headers of its first packet. */
export function finish(): void {
  if (head === 0) return;
  const at = head;
  head = 0;
  if (packets === 1) {
    if (isPieces) finishOne(at, header + payload, transport, header, protocol);
    else clearVnet(at - VNET);
    return;
  }
  sealIpHeader(at, transport, header + payload);
  if (protocol === UDP) putBe16(at + transport + 4, header - transport + payload);
  else if (isEnded && wasPushed) store<u8>(at + transport, load<u8>(at + transport, 13) | 8, 13);
  leaveChecksum(at, header + payload, transport, protocol);
  const kind = protocol === UDP ? GSO_UDP_L4 : transport === 20 ? GSO_TCPV4 : GSO_TCPV6;
  writeVnet(at - VNET, kind, header, size, transport, checksumOffset(protocol));
}

/** Whether the last packet of the run had PSH. */
let wasPushed: bool = false;

function isJoinable(at: usize, length: u32, l4: u32, headers: u32, proto: u32): bool {
  if (length === headers) return false;
  if (proto === UDP) return be16(at + l4 + 4) === length - l4;
  // Only plain data: SYN, FIN, RST, URG and the ECN flags go alone.
  return (<u32> load<u8>(at + l4 + 13) & ~PSH) === ACK && (load<u8>(at + l4 + 12) & 15) === 0;
}

/** Whether the packet is the next one of the open run. */
function continues(at: usize, length: u32, l4: u32, headers: u32, isPiece: bool): bool {
  if (head === 0 || isEnded || isPiece !== isPieces || l4 !== transport) return false;
  if (headers !== header || length - headers > size || packets === MAX_PACKETS) return false;
  if (header + payload + (length - headers) > MAX_BYTES) return false;
  if (l4 === 20 ? !isSameIpv4(at) : !isSameIpv6(at)) return false;
  const a = head + l4;
  const b = at + l4;
  if (load<u32>(a) !== load<u32>(b)) return false;
  if (protocol === UDP) return true;
  if (bswap<u32>(load<u32>(a, 4)) + payload !== bswap<u32>(load<u32>(b, 4))) return false;
  // Acknowledgement; offset, flags without PSH and window; urgent pointer.
  if (load<u32>(a, 8) !== load<u32>(b, 8)) return false;
  if (((load<u32>(a, 12) ^ load<u32>(b, 12)) & ~(PSH << 8)) !== 0) return false;
  if (load<u16>(a, 18) !== load<u16>(b, 18)) return false;
  for (let i: u32 = 20; i < headers - l4; i += 4) {
    if (load<u32>(a + i) !== load<u32>(b + i)) return false;
  }
  return true;
}

function isSameIpv4(at: usize): bool {
  if (load<u16>(head) !== load<u16>(at)) return false;
  if (load<u32>(head, 6) !== load<u32>(at, 6)) return false;
  if (load<u64>(head, 12) !== load<u64>(at, 12)) return false;
  // Without DF the numbers matter, and the kernel will count them up.
  if (load<u8>(at, 6) & DONT_FRAGMENT) return true;
  return ((be16(head + 4) + packets) & 0xffff) === be16(at + 4);
}

function isSameIpv6(at: usize): bool {
  if (load<u32>(head) !== load<u32>(at) || load<u16>(head, 6) !== load<u16>(at, 6)) return false;
  return load<u64>(head, 8) === load<u64>(at, 8) && load<u64>(head, 16) === load<u64>(at, 16) &&
    load<u64>(head, 24) === load<u64>(at, 24) && load<u64>(head, 32) === load<u64>(at, 32);
}

function append(at: usize, length: u32): void {
  const bytes = length - header;
  payload += bytes;
  packets++;
  wasPushed = isPush(at, transport);
  isEnded = bytes < size || wasPushed;
}

function isPush(at: usize, l4: u32): bool {
  return protocol === TCP && (<u32> load<u8>(at + l4 + 13) & PSH) !== 0;
}

/** A piece by itself: the kernel is to complete its checksum. */
function finishOne(at: usize, length: u32, l4: u32, headers: u32, proto: u32): u32 {
  if (proto === UDP && be16(at + l4 + 4) !== length - l4) return REFUSED;
  sealIpHeader(at, l4, length);
  leaveChecksum(at, length, l4, proto);
  writeVnet(at - VNET, GSO_NONE, headers, 0, l4, checksumOffset(proto));
  return ALONE;
}

/** Puts the sum of the pseudo-header where the kernel will complete it. */
function leaveChecksum(at: usize, length: u32, l4: u32, proto: u32): void {
  store<u16>(at + l4 + checksumOffset(proto), fold(pseudoSum(at, l4, proto, length - l4)));
}
