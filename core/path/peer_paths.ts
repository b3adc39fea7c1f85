/**
 * Which path do datagrams to one peer take?
 *
 * Every path that may work is pinged inside the session. One becomes the path in use only after the
 * peer answered on it (two-way proof), and stays in use until another is better for a while or it
 * fails; no datagram that merely comes from elsewhere changes that. A path that is doubted, since
 * a ping on it is overdue, gets company at once: every datagram goes out on the best other path
 * too, and the peer's replay window drops what comes twice.
 *
 * How often paths are pinged follows the traffic: four times a second while it flows, now and then
 * for some minutes after, and not at all for a peer that nobody talks to.
 * @module
 */
import { type Millis, NEVER } from "../machine.ts";
import { headerBytes, kindOf, PATH_KINDS, type PathAddress, type PathKind } from "./address.ts";
import { mtuOf, probeDue } from "./mtu.ts";
import {
  duePing,
  expirePings,
  fail,
  isDoubtful,
  newPath,
  type Path,
  pathDeadline,
  pinged,
  probed,
  SEAL_BYTES,
  startBurst,
} from "./path.ts";
import { lossOf } from "./quality.ts";

/** Traffic within so long makes a peer active. */
const ACTIVE_MS = 2_000;
/** After the last traffic its paths are kept open for so long: NATs forget in 30 s and more. */
export const KEEP_MS = 150_000;
/** Between pings: of the path in use, of the best other one, and of further ones that are up. */
const ACTIVE_PING_MS = { current: 250, standby: 2_000, other: 5_000 };
/** Of a path of a kind that is wanted more than the one in use: what was wrong with it may pass. */
const RETURN_PING_MS = 500;
const KEPT_PING_MS = { current: 15_000, standby: 20_000, other: 25_000 };
/** What a kind of path must be faster by to be as good as the kind before it. */
const KIND_PENALTY_MS = 30;
/** One percent of loss weighs as much as so many milliseconds. */
const LOSS_PENALTY_MS = 1_000;
/** A path that failed lately is taken only when there is nothing else. */
const PROBATION_PENALTY_MS = 2_000;
/** For each of its last pings without an answer. */
const FAILURE_PENALTY_MS = 1_000;
/** Loss from which on another path may be better than a direct one; and pings that must show it. */
const LOSSY = 0.05;
const LOSSY_PINGS = 12;
/** Another path of the same worth must be so much better, for so long, to be taken. */
const BETTER_SHARE = 0.8;
const BETTER_MS = 3;
const HOLD_MS = 3_000;
/** An answer is fresh for so long. */
const FRESH_MS = 1_000;
/** Paths of one peer; reflexive ones beyond are not followed. */
const MAX_PATHS = 40;

/** Which kinds of path a user wants for a peer. */
export interface PathPreference {
  /** Kinds from the most wanted to the least; those that are missing come after. */
  readonly order: readonly PathKind[];
  readonly exclude: readonly PathKind[];
}

export const DEFAULT_PREFERENCE: PathPreference = { order: PATH_KINDS, exclude: [] };

/** What the node is asked for. */
export type PeerEffect =
  | { readonly type: "ping"; readonly path: PathAddress; readonly probe: number | null }
  | {
    readonly type: "use";
    readonly path: PathAddress;
    readonly standby: PathAddress | null;
    /** Largest packet that may be sealed for it, or null where there is no limit. */
    readonly mtu: number | null;
    readonly why: string;
    /** Whether the path before works. */
    readonly drain: boolean;
  };

/** All paths of one peer. Plain data but for its methods; see the module's doc. */
export class PeerPaths {
  readonly paths = new Map<PathAddress, Path>();
  current: PathAddress | null = null;
  standby: PathAddress | null = null;
  /** A better path, and since when it is. */
  rival: { address: PathAddress; since: Millis } | null = null;
  /** Whether a session can carry pings. */
  hasSession = false;
  lastTrafficAt: Millis = -NEVER;
  preference: PathPreference = DEFAULT_PREFERENCE;
  /** The {@link PeerEffect} `use` that was told last. */
  told = "";

  isActive(now: Millis): boolean {
    return now < this.lastTrafficAt + ACTIVE_MS;
  }

  /** Whether paths are to be kept open. */
  isKept(now: Millis): boolean {
    // The very sum that the deadline is: a difference may round to the other side of it.
    return this.hasSession && now < this.lastTrafficAt + KEEP_MS;
  }

  /** The path of that address, made if need be; null when there are too many, or it is excluded. */
  at(address: PathAddress, isReflexive: boolean, now: Millis): Path | null {
    const known = this.paths.get(address);
    if (known) {
      if (!isReflexive) known.isReflexive = false;
      return known;
    }
    if (this.paths.size >= MAX_PATHS || this.preference.exclude.includes(kindOf(address))) {
      return null;
    }
    const path = newPath(address, isReflexive, now);
    this.paths.set(address, path);
    return path;
  }

  /** Takes what a handshake went over, where nothing better is known. */
  adopt(address: PathAddress): void {
    if (this.paths.has(address)) this.current = address;
    this.standby = null;
    this.told = "";
  }

  /** Removes a path that nothing speaks for any more. */
  forget(address: PathAddress): void {
    this.paths.delete(address);
    if (this.current === address) this.current = null;
    if (this.standby === address) this.standby = null;
  }

  /** Something changed that may open ways: tries everything from the beginning. */
  restart(now: Millis): void {
    for (const path of this.paths.values()) startBurst(path, now);
  }

  /** A link that carries a path ended. */
  linkDown(address: PathAddress, why: string, now: Millis): void {
    const path = this.paths.get(address);
    if (path) fail(path, why, now);
  }

  deadline(now: Millis): Millis {
    if (!this.isKept(now)) return NEVER;
    let deadline = this.lastTrafficAt + KEEP_MS;
    for (const path of this.paths.values()) {
      deadline = Math.min(deadline, pathDeadline(path));
      if (this.#mayProbe(path, now)) deadline = Math.min(deadline, path.mtu!.nextAt);
    }
    // One that was better for long enough waits for its next answer and no longer for time.
    const heldUntil = this.rival ? this.rival.since + HOLD_MS : NEVER;
    return heldUntil > now ? Math.min(deadline, heldUntil) : deadline;
  }

  /** Does what is due: judges, chooses, pings. @param next Gives numbers of pings. */
  tick(next: () => number, now: Millis): (PeerEffect & { readonly number?: number })[] {
    const effects: (PeerEffect & { readonly number?: number })[] = [];
    for (const path of this.paths.values()) expirePings(path, now);
    const use = this.choose(now);
    if (use) effects.push(use);
    if (!this.isKept(now)) return effects;
    const isActive = this.isActive(now);
    for (const path of this.paths.values()) {
      const { address } = path;
      if (duePing(path, now)) {
        const number = next();
        pinged(path, number, { interval: this.#interval(path, isActive), isActive }, now);
        effects.push({ type: "ping", path: address, probe: null, number });
      }
      const probe = this.#mayProbe(path, now) ? probeDue(path.mtu!, now) : null;
      if (probe !== null) {
        const number = next();
        probed(path, number, probe, now);
        effects.push({ type: "ping", path: address, probe, number });
      }
    }
    return effects;
  }

  /** Traffic begins or goes on: the path in use must show soon that it works. */
  traffic(now: Millis): void {
    const wasActive = this.isActive(now);
    const wasKept = this.isKept(now);
    this.lastTrafficAt = now;
    if (wasActive) return;
    for (const path of this.paths.values()) {
      if (path.state === "up") path.nextPingAt = Math.min(path.nextPingAt, now);
      else if (!wasKept) startBurst(path, now);
    }
  }

  /** Whether the MTU of a path is looked for now. */
  #mayProbe({ address, state, failures, mtu }: Path, now: Millis): boolean {
    const isInUse = address === this.current && state === "up" && failures === 0;
    return isInUse && mtu !== null && (!mtu.isDone || this.isActive(now));
  }

  /** Keeps the paths open although nothing is sent to the peer itself. */
  keep(now: Millis): void {
    const wasKept = this.isKept(now);
    // Kept, not active: pings now and then are enough.
    this.lastTrafficAt = Math.max(this.lastTrafficAt, now - ACTIVE_MS);
    if (!wasKept) this.restart(now);
  }

  #interval(path: Path, isActive: boolean): Millis {
    const { address } = path;
    const table = isActive ? ACTIVE_PING_MS : KEPT_PING_MS;
    if (address === this.current) return table.current;
    // While the path in use is doubted its deputy is what counts; who owes answers may give them.
    if (address === this.standby || (isActive && path.probation > 0)) return ACTIVE_PING_MS.current;
    const current = this.current === null ? undefined : this.paths.get(this.current);
    if (isActive && current && this.#rank(path) < this.#rank(current)) return RETURN_PING_MS;
    return address === this.#best(this.current)?.address ? table.standby : table.other;
  }

  /** Decides what to use; returns an effect when that is other than was told. */
  choose(now: Millis): (PeerEffect & { type: "use" }) | null {
    const path = this.current === null ? undefined : this.paths.get(this.current);
    let why = "";
    let drain = false;
    const best = this.#best(null);
    if (path === undefined || path.state !== "up") {
      this.rival = null;
      if (best && best !== path) {
        const isNew = path === undefined || path.state === "trying";
        why = isNew ? "first path that works" : path.lastError ?? "the path failed";
        this.#take(best.address);
      }
    } else if (best === null || best === path) this.rival = null;
    else if (this.#isBetter(best, path, now)) {
      why = `better than ${path.address}`;
      drain = true;
      this.#take(best.address);
    }
    this.#doubt(now);
    return this.#tell(why, drain);
  }

  #take(address: PathAddress): void {
    this.current = address;
    this.rival = null;
    // What was known of the interval no longer holds.
    const path = this.paths.get(address)!;
    path.nextPingAt = Math.min(path.nextPingAt, (path.lastAnswerAt ?? 0) + 250);
  }

  /** Gives a doubtful path a deputy. */
  #doubt(now: Millis): void {
    const path = this.current === null ? undefined : this.paths.get(this.current);
    const needsDeputy = path !== undefined && this.isKept(now) && isDoubtful(path, now);
    const before = this.standby;
    this.standby = needsDeputy ? this.#best(path.address)?.address ?? null : null;
    if (this.standby === null || this.standby === before) return;
    this.paths.get(this.standby)!.nextPingAt = now;
  }

  #tell(why: string, drain: boolean): (PeerEffect & { type: "use" }) | null {
    if (this.current === null) return null;
    const limits = [this.current, this.standby].flatMap((address) => {
      const search = address === null ? null : this.paths.get(address)?.mtu;
      return search ? [mtuOf(search) - headerBytes(address!) - SEAL_BYTES] : [];
    });
    const mtu = limits.length > 0 ? Math.min(...limits) : null;
    const text = `${this.current} ${this.standby} ${mtu}`;
    if (text === this.told) return null;
    this.told = text;
    return { type: "use", path: this.current, standby: this.standby, mtu, why, drain };
  }

  /** The best path that works, `except` aside. */
  #best(except: PathAddress | null): Path | null {
    let best: Path | null = null;
    for (const path of this.paths.values()) {
      if (path.state !== "up" || path.address === except) continue;
      if (best === null || this.cost(path) < this.cost(best)) best = path;
    }
    return best;
  }

  /** Milliseconds, with what is unwanted of a path added. */
  cost(path: Path): number {
    const { rttMs, jitterMs } = path.quality;
    const loss = lossOf(path.quality);
    const isShown = path.quality.outcomes >= LOSSY_PINGS && loss >= LOSSY;
    const lossCost = isShown ? loss * LOSS_PENALTY_MS * 2 : 0;
    return (rttMs ?? 1_000) + this.#doubtCost(path) + 2 * jitterMs + lossCost +
      this.#rank(path) * KIND_PENALTY_MS;
  }

  /** What speaks against a path that is not in use: it failed lately, or seems to fail now. */
  #doubtCost({ address, probation, failures }: Path): number {
    if (address === this.current) return 0;
    return (probation > 0 ? PROBATION_PENALTY_MS : 0) + failures * FAILURE_PENALTY_MS;
  }

  #rank(path: Path): number {
    const { order } = this.preference;
    const index = order.indexOf(kindOf(path.address));
    const isDefault = order === DEFAULT_PREFERENCE.order || order.join() === PATH_KINDS.join();
    // An order that a user chose outweighs what is measured.
    return (index < 0 ? PATH_KINDS.length : index) * (isDefault ? 1 : 100);
  }

  /** Whether `best` should replace the path in use, which works. */
  #isBetter(best: Path, path: Path, now: Millis): boolean {
    const cost = this.cost(best);
    const isClear = best.probation === 0 && best.failures === 0 && best.pongsReceived >= 2 &&
      cost < this.cost(path) * BETTER_SHARE - BETTER_MS;
    if (!isClear) {
      this.rival = null;
      return false;
    }
    // What was known of it may be old: it answers once more before it is taken.
    if (now - (best.lastAnswerAt ?? -NEVER) > FRESH_MS) {
      best.nextPingAt = Math.min(best.nextPingAt, now);
      if (best.outstanding.some(({ sentAt }) => now - sentAt < FRESH_MS)) {
        best.nextPingAt = now + FRESH_MS;
      }
      return false;
    }
    // A kind that is wanted more is taken as soon as it is proven.
    if (this.#rank(best) < this.#rank(path) && lossOf(best.quality) < LOSSY) return true;
    if (this.rival?.address !== best.address) this.rival = { address: best.address, since: now };
    return now >= this.rival.since + HOLD_MS;
  }
}
