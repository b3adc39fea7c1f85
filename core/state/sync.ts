/**
 * Which entries are missing here, who has them, and is anyone showing us something else than others?
 *
 * The same machine runs in nodes and coordinators; a peer serves the log as well as a coordinator
 * does. Sources tell each other their heads whenever those change, and whoever is behind asks for
 * the entries, one question at a time. Entries are believed for their signatures, never for where
 * they come from, so a head that promises more than there is costs one question.
 *
 * What a lying coordinator meets: peers that say a newer head, so that what it withholds arrives by
 * them and it is reported as `stale`; and the heads it signed for others, which peers pass on, so
 * that two stories of it become an `equivocation` with its proof. A node that hears nobody else
 * cannot notice what it is not told; {@link LogSync.freshAt} says when an admin last vouched for
 * what it has.
 * @module
 */
import { z } from "zod";
import { unreachable } from "../assert.ts";
import { fromBase64Url } from "../bytes.ts";
import { parseJson } from "../control/messages.ts";
import { type ErrorCode, MeshError } from "../errors.ts";
import { peerIdOf } from "../identity/keys.ts";
import { SignedRecord } from "../identity/record.ts";
import { type Machine, type Millis, NEVER } from "../machine.ts";
import { MAX_ENTRY_LENGTH, SignedEntry, type VerifiedEntry } from "./entry.ts";
import {
  EquivocationProof,
  findEquivocation,
  peekHead,
  type VerifiedHead,
  verifyEquivocation,
  verifyHead,
} from "./head.ts";
import type { Head, MeshLog } from "./log.ts";
import { userOfKey } from "./state.ts";

/** Entries in one answer, at most. */
export const MAX_ENTRIES = 256;
/** An answer ends before it exceeds this, in UTF-16 units, unless one entry alone does. */
const ANSWER_LENGTH = 1_048_576;
/** An answer with the largest entry at its end, escaped and with its signature. */
const MAX_MESSAGE_LENGTH = 2 * (ANSWER_LENGTH + 2 * MAX_ENTRY_LENGTH);
/** Heads in one message: one's own and those of coordinators. */
const MAX_HEADS = 64;
/** Heads remembered of one signer. */
const HEADS_KEPT = 16;
/** How long an answer may take before another source is asked. */
const ANSWER_MS: Millis = 3_000;
/** How long a coordinator may stay behind what it was told. */
const STALE_MS: Millis = 10_000;

export const SyncMessage = z.discriminatedUnion("type", [
  /** The sender's head, and the newest ones that coordinators signed for it. */
  z.strictObject({ type: z.literal("heads"), heads: z.array(SignedRecord).max(MAX_HEADS) }),
  z.strictObject({ type: z.literal("want"), from: z.int().nonnegative() }),
  z.strictObject({ type: z.literal("entries"), entries: z.array(SignedEntry).max(MAX_ENTRIES) }),
  z.strictObject({ type: z.literal("equivocation"), proof: EquivocationProof }),
]);
export type SyncMessage = z.infer<typeof SyncMessage>;

/** Whoever can be asked, by a name of the shell's choice. */
export type SourceId = string;

export type SyncEvent =
  | {
    readonly type: "connected";
    readonly source: SourceId;
    /** base64url of its identity key, proved by the connection. */
    readonly key: string;
    readonly isCoordinator: boolean;
  }
  | { readonly type: "disconnected"; readonly source: SourceId }
  | { readonly type: "message"; readonly source: SourceId; readonly text: string }
  /** The log was appended to here. */
  | { readonly type: "appended" }
  | { readonly type: "tick" };

export type SyncEffect =
  | { readonly type: "send"; readonly to: SourceId; readonly message: SyncMessage }
  /** Entries that were taken into the log: keep them, then act upon the state. */
  | { readonly type: "grown"; readonly entries: readonly VerifiedEntry[] }
  | { readonly type: "alert"; readonly alert: SyncAlert };

/** Something that users and admins should see. */
export type SyncAlert =
  | { readonly type: "equivocation"; readonly signer: string; readonly proof: EquivocationProof }
  | { readonly type: "stale"; readonly source: SourceId; readonly theirs: number }
  | {
    readonly type: "refused";
    readonly source: SourceId;
    readonly code: ErrorCode;
    readonly why: string;
  };

export interface SyncOptions {
  readonly log: MeshLog;
  /** Signs a head with this node's identity and wall time (`signHead`). */
  readonly sign: (head: Head) => SignedRecord;
  /** Longest message that can be sent, in UTF-16 units; nothing longer is. */
  readonly maxLength?: number;
}

interface Source {
  readonly id: SourceId;
  readonly key: string;
  readonly isCoordinator: boolean;
  /** What it last said of itself; verified where it can matter who says it. */
  head: Head | null;
  /** The same of a coordinator, to be passed on. */
  signed: SignedRecord | null;
  /** The head of which it could not show the entries; it is not asked for that again. */
  failed: string;
  /** When it counts as withholding; NEVER while it is level, or was reported. */
  staleAt: Millis;
}

export class LogSync implements Machine<SyncEvent, SyncEffect> {
  readonly #log: MeshLog;
  readonly #sign: (head: Head) => SignedRecord;
  readonly #maxLength: number;
  readonly #sources = new Map<SourceId, Source>();
  /** By signer, newest last. */
  readonly #heads = new Map<string, VerifiedHead[]>();
  readonly #convicted = new Set<string>();
  #ask: { readonly source: SourceId; readonly head: string; readonly until: Millis } | null = null;

  constructor(options: SyncOptions) {
    this.#log = options.log;
    this.#sign = options.sign;
    this.#maxLength = options.maxLength ?? MAX_MESSAGE_LENGTH;
  }

  get deadline(): Millis {
    const stale = [...this.#sources.values()].map(({ staleAt }) => staleAt);
    return Math.min(this.#ask?.until ?? NEVER, ...stale);
  }

  /** The latest time at which an admin vouched for a head that this log contains; null for never. */
  get freshAt(): number | null {
    let newest: number | null = null;
    for (const head of [...this.#heads.values()].flat()) {
      if (this.#isAdmins(head.signer) && this.#log.contains(head)) {
        newest = Math.max(newest ?? 0, head.at);
      }
    }
    return newest;
  }

  handle(event: SyncEvent, now: Millis): SyncEffect[] {
    const effects: SyncEffect[] = [];
    switch (event.type) {
      case "connected": {
        const { source: id, key, isCoordinator } = event;
        const source = {
          id,
          key,
          isCoordinator,
          head: null,
          signed: null,
          failed: "",
          staleAt: NEVER,
        };
        this.#sources.set(id, source);
        effects.push(this.#headsFor(id));
        break;
      }
      case "disconnected":
        this.#sources.delete(event.source);
        if (this.#ask?.source === event.source) this.#ask = null;
        break;
      case "message":
        this.#message(event.source, event.text, now, effects);
        break;
      case "appended":
        this.#tellAll(now, effects);
        break;
      case "tick":
        break;
      default:
        unreachable(event);
    }
    this.#expire(now, effects);
    this.#askNext(now, effects);
    return effects;
  }

  #message(id: SourceId, text: string, now: Millis, effects: SyncEffect[]): void {
    const source = this.#sources.get(id);
    if (!source) return;
    try {
      const message = parseJson(SyncMessage, text, "message about the log", MAX_MESSAGE_LENGTH);
      switch (message.type) {
        case "heads":
          for (const signed of message.heads) this.#head(source, signed, effects);
          break;
        case "want":
          effects.push({ type: "send", to: id, message: this.#answer(message.from) });
          break;
        case "entries":
          this.#entries(source, message.entries, now, effects);
          break;
        case "equivocation":
          this.#convict(message.proof, effects);
          break;
        default:
          unreachable(message);
      }
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      effects.push(refused(id, error));
    }
    this.#watch(source, now);
  }

  #head(source: Source, signed: SignedRecord, effects: SyncEffect[]): void {
    if (!this.#isKnown(signed.signer)) return;
    const said = peekHead(signed);
    const isOwn = signed.signer === source.key && !source.isCoordinator;
    if (isOwn && said && this.#log.contains(said) && !this.#isAdmins(signed.signer)) {
      // It is level with or behind us, and nobody is held to that.
      source.head = said;
      return;
    }
    const kept = this.#heads.get(signed.signer) ?? [];
    // Peers pass on what coordinators signed, so that the same comes many times.
    const head = kept.find((each) => isSame(each.signed, signed)) ??
      verifyHead(signed, this.#log.meshId);
    if (head.signer === source.key) Object.assign(source, { head, signed });
    const isOld = kept.some(({ seq, hash, at }) =>
      seq === head.seq && hash === head.hash && at >= head.at
    );
    if (isOld) return;
    const others = kept.filter(({ seq, hash }) => seq !== head.seq || hash !== head.hash);
    this.#heads.set(head.signer, [...others, head].slice(-HEADS_KEPT));
    this.#judge(head.signer, effects);
  }

  /** Members, admins and whoever is connected: others could fill the memory with keys. */
  #isKnown(key: string): boolean {
    const { state } = this.#log;
    return state.nodes.get(peerIdOf(fromBase64Url(key)))?.identity === key ||
      userOfKey(state, key) !== undefined ||
      this.#sources.values().some((source) => source.key === key);
  }

  #isAdmins(key: string): boolean {
    return userOfKey(this.#log.state, key)?.isAdmin ?? false;
  }

  #judge(signer: string, effects: SyncEffect[]): void {
    const proof = findEquivocation(this.#heads.get(signer) ?? [], this.#log);
    if (proof) this.#convict(proof, effects);
  }

  /** Reports a proof and passes it on, once for each signer. */
  #convict(proof: EquivocationProof, effects: SyncEffect[]): void {
    const signer = verifyEquivocation(proof, this.#log.meshId);
    if (this.#convicted.has(signer) || !this.#isKnown(signer)) return;
    this.#convicted.add(signer);
    effects.push({ type: "alert", alert: { type: "equivocation", signer, proof } });
    for (const to of this.#sources.keys()) {
      effects.push({ type: "send", to, message: { type: "equivocation", proof } });
    }
  }

  #entries(
    source: Source,
    entries: readonly SignedEntry[],
    now: Millis,
    effects: SyncEffect[],
  ): void {
    if (this.#ask?.source !== source.id) return;
    const asked = this.#ask.head;
    this.#ask = null;
    const grown: VerifiedEntry[] = [];
    try {
      for (const signed of entries) {
        try {
          grown.push(this.#log.append(signed));
        } catch (error) {
          // It came from elsewhere in the meantime.
          if (!(error instanceof MeshError) || error.code !== "log-rollback") throw error;
        }
      }
      if (grown.length === 0) source.failed = asked;
    } catch (error) {
      source.failed = asked;
      if (!(error instanceof MeshError)) throw error;
      effects.push(refused(source.id, error));
    }
    if (grown.length === 0) return;
    effects.push({ type: "grown", entries: grown });
    this.#tellAll(now, effects);
    for (const signer of this.#heads.keys()) this.#judge(signer, effects);
  }

  #answer(from: number): SyncMessage {
    const entries: SignedEntry[] = [];
    let length = 0;
    // Older ones than this log holds are not to be had here, and later ones would not follow.
    const held = from < this.#log.first ? [] : this.#log.since(from, MAX_ENTRIES);
    const limit = Math.min(ANSWER_LENGTH, this.#maxLength / 2);
    for (const { signed } of held) {
      length += signed.payload.length;
      if (length > limit && entries.length > 0) break;
      entries.push(signed);
    }
    return { type: "entries", entries };
  }

  #headsFor(to: SourceId): SyncEffect {
    const heads = [this.#sign(this.#log.head)];
    for (const { isCoordinator, id, signed } of this.#sources.values()) {
      if (isCoordinator && id !== to && signed && heads.length < MAX_HEADS) heads.push(signed);
    }
    return { type: "send", to, message: { type: "heads", heads } };
  }

  /** The log has grown: everyone hears of it, and who says nothing to that is behind. */
  #tellAll(now: Millis, effects: SyncEffect[]): void {
    for (const source of this.#sources.values()) this.#watch(source, now);
    for (const id of this.#sources.keys()) effects.push(this.#headsFor(id));
  }

  /** Starts or stops the clock on a coordinator that is behind. */
  #watch(source: Source, now: Millis): void {
    const isBehind = source.isCoordinator && source.head !== null &&
      source.head.seq < this.#log.head.seq;
    if (!isBehind) source.staleAt = NEVER;
    else if (source.staleAt === NEVER) source.staleAt = now + STALE_MS;
  }

  #expire(now: Millis, effects: SyncEffect[]): void {
    if (this.#ask && now >= this.#ask.until) {
      const source = this.#sources.get(this.#ask.source);
      if (source) source.failed = this.#ask.head;
      this.#ask = null;
    }
    for (const source of this.#sources.values()) {
      if (now < source.staleAt) continue;
      source.staleAt = NEVER;
      const theirs = source.head?.seq ?? 0;
      effects.push({ type: "alert", alert: { type: "stale", source: source.id, theirs } });
    }
  }

  /** Asks whoever says to have most, or for what stands in another log where ours has something. */
  #askNext(now: Millis, effects: SyncEffect[]): void {
    if (this.#ask) return;
    const ours = this.#log.head;
    const ahead = [...this.#sources.values()].filter(({ head, failed }) =>
      head !== null && head.hash !== failed &&
      (head.seq > ours.seq || this.#log.contains(head) === false)
    ).sort((a, b) => b.head!.seq - a.head!.seq);
    const [best] = ahead;
    if (!best) return;
    const head = best.head!;
    this.#ask = { source: best.id, head: head.hash, until: now + ANSWER_MS };
    const from = Math.min(ours.seq + 1, head.seq);
    effects.push({ type: "send", to: best.id, message: { type: "want", from } });
  }
}

function isSame(a: SignedRecord, b: SignedRecord): boolean {
  return a.signature === b.signature && a.payload === b.payload && a.kind === b.kind;
}

function refused(source: SourceId, error: MeshError): SyncEffect {
  const { code, message: why } = error;
  return { type: "alert", alert: { type: "refused", source, code, why } };
}
