/**
 * One path to a peer: what was sent on it, what came back, and when to try next.
 *
 * | state | means |
 * | --- | --- |
 * | trying | no ping was answered yet |
 * | up | answers come: both directions work |
 * | failed | it worked, or was tried in full, and nothing comes back |
 *
 * Plain data and functions over it: a recorder keeps it, and a replay goes on from it.
 * @module
 */
import type { Millis } from "../machine.ts";
import { NEVER } from "../machine.ts";
import { headerBytes, type PathAddress } from "./address.ts";
import { type MtuSearch, newMtuSearch, probeAnswered, probeLost, probeSent } from "./mtu.ts";
import { answered, answeredLate, lost, newQuality, type Quality, timeoutOf } from "./quality.ts";

/** When pings of a burst go out, after its begin: a NAT opens only once both ends have sent. */
const BURST_MS = [0, 100, 300, 700, 1_500, 3_000];
/** Pauses after a burst double from and up to these; the shorter one while there is traffic. */
const FIRST_PAUSE_MS = 5_000;
const ACTIVE_PAUSE_MS = 6_000;
const MAX_PAUSE_MS = 60_000;
/** So many pings without an answer, and as long as this, and the path has failed. */
const MAX_FAILURES = 3;
/** Answers in a row that a path owes which failed: it may be one that loses much. */
const PROBATION = 16;
/** Unanswered pings that are remembered. */
const MAX_OUTSTANDING = 16;
/** Bytes that sealing adds: 16 header, 16 tag. */
export const SEAL_BYTES = 32;

export type PathState = "trying" | "up" | "failed";

/** A ping without an answer yet. */
interface Outstanding {
  readonly number: number;
  readonly sentAt: Millis;
  /** Size of the whole IP packet where it was a probe of the path's MTU. */
  readonly probe: number | null;
  isLate: boolean;
}

/** One path; see the module's doc. */
export interface Path {
  readonly address: PathAddress;
  /** Known by its datagrams only, not because the peer named it. */
  isReflexive: boolean;
  state: PathState;
  quality: Quality;
  outstanding: Outstanding[];
  /** Pings in a row without an answer. */
  failures: number;
  lastAnswerAt: Millis | null;
  /** Answers that are still owed before it is preferred to others again. */
  probation: number;
  /** When the present run of answers began. */
  upSince: Millis | null;
  lastHeardAt: Millis | null;
  nextPingAt: Millis;
  /** Position in the burst, then beyond it. */
  burst: number;
  burstAt: Millis;
  mtu: MtuSearch | null;
  /** For users: why it does not work. */
  lastError: string | null;
  pingsSent: number;
  pongsReceived: number;
}

export function newPath(address: PathAddress, isReflexive: boolean, now: Millis): Path {
  return {
    address,
    isReflexive,
    state: "trying",
    quality: newQuality(),
    outstanding: [],
    failures: 0,
    lastAnswerAt: null,
    probation: 0,
    upSince: null,
    lastHeardAt: null,
    nextPingAt: now,
    burst: 0,
    burstAt: now,
    mtu: null,
    lastError: null,
    pingsSent: 0,
    pongsReceived: 0,
  };
}

/** Begins a burst of pings now. */
export function startBurst(path: Path, now: Millis): void {
  path.burst = 0;
  path.burstAt = now;
  path.nextPingAt = now;
}

/** Whether a ping is due. */
export function duePing(path: Path, now: Millis): boolean {
  return now >= path.nextPingAt;
}

/** When something of the path is due next, probes of its MTU aside. */
export function pathDeadline(path: Path): Millis {
  let deadline = path.nextPingAt;
  const timeout = timeoutOf(path.quality);
  for (const { sentAt, isLate } of path.outstanding) {
    if (!isLate) deadline = Math.min(deadline, sentAt + timeout);
  }
  return deadline;
}

/** A probe of the path's MTU went out. */
export function probed(path: Path, number: number, probe: number, now: Millis): void {
  path.pingsSent++;
  remember(path, { number, probe, sentAt: now, isLate: false });
  probeSent(path.mtu!, timeoutOf(path.quality), now);
}

/**
 * A ping went out.
 * @param interval Until the next one, where the path is up.
 */
export function pinged(
  path: Path,
  number: number,
  pause: { readonly interval: Millis; readonly isActive: boolean },
  now: Millis,
): void {
  path.pingsSent++;
  remember(path, { number, probe: null, sentAt: now, isLate: false });
  path.nextPingAt = path.state === "up" ? now + pause.interval : nextTry(path, pause.isActive, now);
}

function remember(path: Path, ping: Outstanding): void {
  path.outstanding.push(ping);
  if (path.outstanding.length > MAX_OUTSTANDING) path.outstanding.shift();
}

function nextTry(path: Path, isActive: boolean, now: Millis): Millis {
  path.burst++;
  if (path.burst < BURST_MS.length) return path.burstAt + BURST_MS[path.burst]!;
  const longest = isActive ? ACTIVE_PAUSE_MS : MAX_PAUSE_MS;
  return now + Math.min(longest, FIRST_PAUSE_MS * 2 ** (path.burst - BURST_MS.length));
}

/** Takes note of pings whose answers are late; true when there was one. */
export function expirePings(path: Path, now: Millis): boolean {
  const timeout = timeoutOf(path.quality);
  let hasLost = false;
  for (const ping of path.outstanding) {
    if (ping.isLate || now < ping.sentAt + timeout) continue;
    ping.isLate = true;
    hasLost = true;
    if (ping.probe !== null) {
      // The size may be to blame: small pings decide about the path.
      if (path.mtu && path.failures === 0) probeLost(path.mtu, now);
      continue;
    }
    lost(path.quality);
    path.failures++;
    if (path.probation > 0) path.probation = PROBATION;
  }
  const isQuiet = path.lastAnswerAt === null || now - path.lastAnswerAt > timeout;
  if (path.failures >= MAX_FAILURES && isQuiet && path.state === "up") {
    fail(path, `no answer to ${path.failures} pings in a row`, now);
  } else if (path.state === "trying" && path.burst >= BURST_MS.length) {
    path.state = "failed";
    path.lastError ??= `no answer to ${path.pingsSent} pings`;
  }
  return hasLost;
}

/** The path does not work any more; it is tried again from the beginning. */
export function fail(path: Path, why: string, now: Millis): void {
  if (path.state === "up") path.probation = PROBATION;
  path.state = "failed";
  path.lastError = why;
  path.upSince = null;
  path.mtu = null;
  startBurst(path, now);
}

/**
 * An answer came on the path. Returns false when it is for no ping of this path.
 * @param wanted Largest IP packet that would be sent here, 0 where no link has a limit.
 */
export function ponged(path: Path, number: number, wanted: number, now: Millis): boolean {
  const index = path.outstanding.findIndex((ping) => ping.number === number);
  if (index < 0) return false;
  const [ping] = path.outstanding.splice(index, 1);
  path.pongsReceived++;
  path.lastAnswerAt = path.lastHeardAt = now;
  path.lastError = null;
  path.failures = 0;
  path.probation = Math.max(0, path.probation - 1);
  if (!ping!.isLate) answered(path.quality, now - ping!.sentAt);
  // A probe that was lost had counted for its size alone.
  else if (ping!.probe === null) answeredLate(path.quality, now - ping!.sentAt);
  if (path.state !== "up") {
    path.state = "up";
    path.upSince = now;
    // Pings from before it worked say nothing about it now.
    path.outstanding = [];
    // One answer may be luck; another one at once shows more.
    path.nextPingAt = now;
    path.quality.losses = path.quality.outcomes = 0;
  }
  if (headerBytes(path.address) > 0) {
    path.mtu ??= newMtuSearch(wanted, now);
    if (ping!.probe !== null) probeAnswered(path.mtu, ping!.probe, now);
  }
  return true;
}

/** Whether the oldest ping since the last answer is overdue: the path may be dead. */
export function isDoubtful(path: Path, now: Millis): boolean {
  if (path.state !== "up") return true;
  const timeout = timeoutOf(path.quality);
  return path.outstanding.some(({ sentAt, probe }) =>
    probe === null && now >= sentAt + timeout && sentAt >= (path.lastAnswerAt ?? -NEVER)
  );
}

/** Length of a ping's payload so that the whole IP packet has `size` bytes. */
export function pingBytes(path: Path, size: number): number {
  return size - headerBytes(path.address) - SEAL_BYTES;
}
