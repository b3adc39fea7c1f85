/**
 * One peer's session: its keypairs, its handshake under way, its timers (WireGuard paper, section 6).
 *
 * Timers are deadlines in fields; {@link Peer.tick} acts on those that have passed:
 *
 * | field | set by | does |
 * | --- | --- | --- |
 * | retryAt | an initiation | repeats it, gives up after 90 s |
 * | keepaliveAt | data received | sends an empty message unless data goes out before |
 * | silenceAt | data sent | starts a handshake unless anything comes in before |
 * | persistentAt | anything sent or received | sends an empty message |
 * | expiry of keypairs | their creation | forgets them after 180 s |
 * @module
 */
import type { Endpoint } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import type { HandshakeState, KeyPair } from "../noise/handshake_state.ts";
import { type Random, unit } from "../random.ts";
import {
  INITIATION_INTERVAL,
  KEEPALIVE_TIMEOUT,
  KEYPAIR_SLOT_BITS,
  KEYPAIRS_PER_PEER,
  REJECT_AFTER_TIME,
  REKEY_ATTEMPT_TIME,
  REKEY_TIMEOUT,
  REKEY_TIMEOUT_JITTER,
} from "./constants.ts";
import { CookieJar } from "./cookie.ts";
import type { DeviceEffect, Keypair, PeerOptions } from "./device.ts";
import {
  consumeResponse,
  createInitiation,
  createResponse,
  type Initiation,
  type TransportKeys,
} from "./handshake.ts";
import { INITIATION, RESPONSE } from "./messages.ts";
import { isNewer } from "./tai64n.ts";

/** What every peer of a device shares. */
export interface PeerContext {
  readonly own: KeyPair;
  readonly random: Random;
  readonly timestamp: () => Uint8Array;
  readonly rekeyAfterMs: number;
}

/** What is known of a session. */
export interface PeerReport {
  readonly state: "up" | "handshaking" | "down" | "unreachable";
  readonly lastHandshakeAt: Millis | null;
  readonly endpoint: Endpoint | null;
  readonly candidates: readonly Endpoint[];
  readonly rtt: { readonly ms: number; readonly at: Millis } | null;
  /** Initiations sent since the last answer. */
  readonly attempts: number;
}

/** An initiation that waits for its response. */
interface Pending {
  readonly k: number;
  readonly localIndex: number;
  readonly state: HandshakeState;
  readonly bytes: Uint8Array;
  readonly sentAt: Millis;
  readonly tried: Set<Endpoint>;
}

/** After this long without proof an endpoint is one candidate among others. */
const ENDPOINT_TRUST_MS = REJECT_AFTER_TIME;

/** One peer. Methods return effects; `now` never decreases. */
export class Peer {
  readonly slot: number;
  readonly #options: PeerOptions;
  readonly #context: PeerContext;
  readonly #jar: CookieJar;
  #candidates: readonly Endpoint[];
  #endpoint: Endpoint | null = null;
  #endpointProvenAt: Millis = -Infinity;

  #previous: Keypair | null = null;
  #current: Keypair | null = null;
  #next: Keypair | null = null;
  #pending: Pending | null = null;
  #newestTimestamp = new Uint8Array(12);
  #lastInitiationReceivedAt: Millis = -Infinity;
  #lastInitiationSentAt: Millis = -Infinity;
  #attemptsSince: Millis = 0;
  #attempts = 0;
  #gaveUp = false;
  #lastHandshakeAt: Millis | null = null;
  #rtt: { ms: number; at: Millis } | null = null;

  #retryAt: Millis = NEVER;
  #keepaliveAt: Millis = NEVER;
  #needsAnotherKeepalive = false;
  #silenceAt: Millis = NEVER;
  #persistentAt: Millis = NEVER;

  constructor(slot: number, options: PeerOptions, context: PeerContext) {
    this.slot = slot;
    this.#options = options;
    this.#context = context;
    this.#jar = new CookieJar(options.publicKey);
    this.#candidates = options.endpoints;
  }

  get publicKey(): Uint8Array {
    return this.#options.publicKey;
  }

  /** Whether this node has no key to send to the peer with. */
  get isLost(): boolean {
    return this.#current === null;
  }

  get deadline(): Millis {
    return Math.min(
      this.#retryAt,
      this.#keepaliveAt,
      this.#silenceAt,
      this.#persistentAt,
      expiry(this.#previous),
      expiry(this.#current),
      expiry(this.#next),
    );
  }

  report(): PeerReport {
    const state = this.#current
      ? "up"
      : this.#pending
      ? this.#gaveUp ? "unreachable" : "handshaking"
      : this.#gaveUp
      ? "unreachable"
      : "down";
    return {
      state,
      lastHandshakeAt: this.#lastHandshakeAt,
      endpoint: this.#endpoint,
      candidates: this.#candidates,
      rtt: this.#rtt,
      attempts: this.#attempts,
    };
  }

  /** A persistent keepalive wants a session from the beginning. */
  start(now: Millis): DeviceEffect[] {
    return this.#options.persistentKeepaliveMs === undefined ? [] : this.initiate(now);
  }

  /** Ends the session and forgets every key. */
  end(reason: "removed" | "expired"): DeviceEffect[] {
    const effects: DeviceEffect[] = [];
    for (const keypair of [this.#previous, this.#current, this.#next]) {
      effects.push(...forget(keypair));
    }
    this.#previous =
      this.#current =
      this.#next =
      this.#pending =
        null;
    this.#retryAt =
      this.#keepaliveAt =
      this.#silenceAt =
      this.#persistentAt =
        NEVER;
    effects.push({ type: "session-down", peer: this.slot, reason });
    return effects;
  }

  /** Whether datagrams from `endpoint` may be this peer's. */
  mayBeAt(endpoint: Endpoint): boolean {
    return this.#endpoint === endpoint || this.#candidates.includes(endpoint);
  }

  setEndpoints(endpoints: readonly Endpoint[], now: Millis): DeviceEffect[] {
    this.#candidates = endpoints;
    const pending = this.#pending;
    if (!pending) return [];
    // A handshake is under way: try what it has not been sent to yet.
    const fresh = endpoints.filter((endpoint) => !pending.tried.has(endpoint));
    return now - pending.sentAt > REKEY_TIMEOUT ? [] : this.#sendTo(pending, fresh);
  }

  roamed(endpoint: Endpoint, now: Millis): DeviceEffect[] {
    this.#endpoint = endpoint;
    this.#endpointProvenAt = now;
    return [];
  }

  dataSent(now: Millis): DeviceEffect[] {
    if (this.#silenceAt === NEVER) {
      this.#silenceAt = now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + this.#jitter();
    }
    const effects = this.authenticatedSent(now);
    if (this.#isDueForRekey(now, this.#context.rekeyAfterMs)) effects.push(...this.initiate(now));
    return effects;
  }

  authenticatedSent(now: Millis): DeviceEffect[] {
    this.#keepaliveAt = NEVER;
    this.#needsAnotherKeepalive = false;
    this.#armPersistent(now);
    return [];
  }

  dataReceived(now: Millis): DeviceEffect[] {
    const effects = this.authenticatedReceived(now);
    if (this.#keepaliveAt === NEVER) this.#keepaliveAt = now + KEEPALIVE_TIMEOUT;
    else this.#needsAnotherKeepalive = true;
    // Only receiving: rekey in time for the key not to run out (section 6.2).
    const lastMinute = this.#context.rekeyAfterMs + REJECT_AFTER_TIME - 120_000 -
      KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
    if (this.#isDueForRekey(now, lastMinute)) effects.push(...this.initiate(now));
    return effects;
  }

  authenticatedReceived(now: Millis): DeviceEffect[] {
    this.#silenceAt = NEVER;
    this.#endpointProvenAt = now;
    this.#armPersistent(now);
    return [];
  }

  /** A packet waits for a keypair. */
  sessionWanted(now: Millis): DeviceEffect[] {
    if (this.#current && this.#endpoint) {
      return [{ type: "promote-keypair", peer: this.slot, slot: this.#current.slot }];
    }
    return this.initiate(now);
  }

  /** The other end has used the keypair that this one answered with: send with it too. */
  keypairUsed(localIndex: number): DeviceEffect[] {
    const next = this.#next;
    if (next?.localIndex !== localIndex) return [];
    const effects = forget(this.#previous);
    this.#previous = this.#current;
    this.#current = next;
    this.#next = null;
    effects.push({ type: "promote-keypair", peer: this.slot, slot: next.slot });
    return effects;
  }

  /** Starts a handshake, unless one was started within the last {@link REKEY_TIMEOUT}. */
  initiate(now: Millis): DeviceEffect[] {
    if (now - this.#lastInitiationSentAt < REKEY_TIMEOUT) return [];
    this.#attemptsSince = now;
    this.#attempts = 0;
    return this.#sendInitiation(now);
  }

  initiation(initiation: Initiation, from: Endpoint, now: Millis): DeviceEffect[] {
    if (!isNewer(initiation.timestamp, this.#newestTimestamp)) {
      return [{ type: "drop", reason: "replay", from }];
    }
    if (now - this.#lastInitiationReceivedAt < INITIATION_INTERVAL) {
      return [{ type: "drop", reason: "rate-limited", from }];
    }
    const effects = forget(this.#next);
    this.#next = null;
    const k = this.#freeSlot();
    const localIndex = this.#newIndex(k);
    const response = createResponse(initiation, this.#options.presharedKey, localIndex);
    if (!response) return [...effects, { type: "drop", reason: "bad-tag", from }];

    this.#newestTimestamp = initiation.timestamp.slice();
    this.#lastInitiationReceivedAt = now;
    this.#jar.addMacs(response.bytes, RESPONSE.mac1, now);
    this.#next = this.#keypair(response.keys, {
      localIndex,
      remoteIndex: initiation.sender,
      isInitiator: false,
      now,
    });
    effects.push({ type: "install-keypair", keypair: this.#next });
    effects.push(...this.#proved(from, now));
    effects.push({ type: "transmit", to: from, bytes: response.bytes });
    effects.push({ type: "session-up", peer: this.slot, rttMs: null, endpoint: from });
    this.#lastHandshakeAt = now;
    this.#gaveUp = false;
    this.#armPersistent(now);
    return effects;
  }

  response(bytes: Uint8Array, index: number, from: Endpoint, now: Millis): DeviceEffect[] {
    const pending = this.#pending;
    if (pending?.localIndex !== index) return [{ type: "drop", reason: "unknown-peer", from }];
    const response = consumeResponse(bytes, pending.state);
    if (!response) return [{ type: "drop", reason: "bad-tag", from }];

    const effects = this.#rotate();
    this.#pending = null;
    this.#retryAt = NEVER;
    this.#attempts = 0;
    this.#gaveUp = false;
    this.#lastHandshakeAt = now;
    this.#rtt = { ms: now - pending.sentAt, at: now };
    this.#current = this.#keypair(response.keys, {
      localIndex: index,
      remoteIndex: response.sender,
      isInitiator: true,
      now,
    });
    effects.push(...this.#proved(from, now));
    effects.push({ type: "install-keypair", keypair: this.#current });
    // The responder may only send once it has seen the key used.
    effects.push({ type: "send-keepalive", peer: this.slot });
    effects.push({ type: "session-up", peer: this.slot, rttMs: this.#rtt.ms, endpoint: from });
    this.authenticatedReceived(now);
    return effects;
  }

  cookieReply(bytes: Uint8Array, now: Millis): boolean {
    return this.#jar.consumeReply(bytes, now);
  }

  tick(now: Millis): DeviceEffect[] {
    const effects = this.#expireKeys(now);
    if (this.#keepaliveAt <= now) {
      this.#keepaliveAt = this.#needsAnotherKeepalive ? now + KEEPALIVE_TIMEOUT : NEVER;
      this.#needsAnotherKeepalive = false;
      if (this.#current) effects.push({ type: "send-keepalive", peer: this.slot });
    }
    if (this.#persistentAt <= now) {
      this.#persistentAt = NEVER;
      this.#armPersistent(now);
      if (this.#current) effects.push({ type: "send-keepalive", peer: this.slot });
      else effects.push(...this.initiate(now));
    }
    if (this.#silenceAt <= now) {
      this.#silenceAt = NEVER;
      effects.push(...this.initiate(now));
    }
    if (this.#retryAt <= now) effects.push(...this.#retry(now));
    return effects;
  }

  #retry(now: Millis): DeviceEffect[] {
    if (now - this.#attemptsSince < REKEY_ATTEMPT_TIME) return this.#sendInitiation(now);
    this.#pending = null;
    this.#retryAt = this.#keepaliveAt = NEVER;
    this.#gaveUp = true;
    return [{ type: "session-down", peer: this.slot, reason: "gave-up" }];
  }

  #sendInitiation(now: Millis): DeviceEffect[] {
    this.#pending = null;
    const k = this.#freeSlot();
    const localIndex = this.#newIndex(k);
    const initiation = createInitiation({
      own: this.#context.own,
      remoteStatic: this.#options.publicKey,
      presharedKey: this.#options.presharedKey,
      sender: localIndex,
      timestamp: this.#context.timestamp(),
      random: this.#context.random,
    });
    if (!initiation) return [{ type: "drop", reason: "bad-tag" }];
    this.#jar.addMacs(initiation.bytes, INITIATION.mac1, now);
    const pending: Pending = { k, localIndex, ...initiation, sentAt: now, tried: new Set() };
    this.#pending = pending;
    this.#lastInitiationSentAt = now;
    this.#retryAt = now + REKEY_TIMEOUT + this.#jitter();
    this.#attempts++;
    return this.#sendTo(pending, this.#targets(now));
  }

  /** The first attempt trusts an endpoint that was proven lately; others go everywhere. */
  #targets(now: Millis): Endpoint[] {
    if (!this.#endpoint) return [...this.#candidates];
    const isTrusted = now - this.#endpointProvenAt < ENDPOINT_TRUST_MS;
    if (isTrusted && this.#attempts === 1) return [this.#endpoint];
    return [...new Set([this.#endpoint, ...this.#candidates])];
  }

  #sendTo(pending: Pending, endpoints: readonly Endpoint[]): DeviceEffect[] {
    return endpoints.map((to) => {
      pending.tried.add(to);
      return { type: "transmit", to, bytes: pending.bytes };
    });
  }

  /** A handshake message authenticated from there: data goes there. */
  #proved(endpoint: Endpoint, now: Millis): DeviceEffect[] {
    this.#endpointProvenAt = now;
    if (this.#endpoint === endpoint) return [];
    this.#endpoint = endpoint;
    return [{ type: "use-endpoint", peer: this.slot, endpoint }];
  }

  /** Makes room for a keypair that this end initiated. */
  #rotate(): DeviceEffect[] {
    const effects = forget(this.#previous);
    if (this.#next) {
      effects.push(...forget(this.#current));
      this.#previous = this.#next;
      this.#next = null;
    } else this.#previous = this.#current;
    return effects;
  }

  #keypair(
    keys: TransportKeys,
    facts: { localIndex: number; remoteIndex: number; isInitiator: boolean; now: Millis },
  ): Keypair {
    const { now, ...rest } = facts;
    return {
      ...keys,
      ...rest,
      peer: this.slot,
      slot: facts.localIndex & (2 ** KEYPAIR_SLOT_BITS - 1),
      role: facts.isInitiator ? "current" : "next",
      createdAt: now,
    };
  }

  #expireKeys(now: Millis): DeviceEffect[] {
    const effects: DeviceEffect[] = [];
    if (expiry(this.#previous) <= now) {
      effects.push(...forget(this.#previous));
      this.#previous = null;
    }
    if (expiry(this.#next) <= now) {
      effects.push(...forget(this.#next));
      this.#next = null;
    }
    if (expiry(this.#current) <= now) {
      effects.push(...forget(this.#current));
      this.#current = null;
      this.#keepaliveAt = NEVER;
      effects.push({ type: "session-down", peer: this.slot, reason: "expired" });
    }
    return effects;
  }

  #isDueForRekey(now: Millis, after: Millis): boolean {
    const current = this.#current;
    return current !== null && current.isInitiator && now - current.createdAt >= after;
  }

  /** One of the four slots that no keypair and no pending initiation holds. */
  #freeSlot(): number {
    const used = [this.#previous, this.#current, this.#next].map((keypair) =>
      keypair === null ? -1 : keypair.slot % KEYPAIRS_PER_PEER
    );
    for (let k = 0; k < KEYPAIRS_PER_PEER; k++) {
      if (!used.includes(k) && this.#pending?.k !== k) return k;
    }
    throw new RangeError("Cannot find a free keypair slot: four are in use");
  }

  #newIndex(k: number): number {
    const high = this.#context.random.uint32() >>> KEYPAIR_SLOT_BITS;
    return (high * 2 ** KEYPAIR_SLOT_BITS) + this.slot * KEYPAIRS_PER_PEER + k;
  }

  #armPersistent(now: Millis): void {
    const interval = this.#options.persistentKeepaliveMs;
    if (interval !== undefined) this.#persistentAt = now + interval;
  }

  #jitter(): Millis {
    return unit(this.#context.random) * REKEY_TIMEOUT_JITTER;
  }
}

function expiry(keypair: Keypair | null): Millis {
  return keypair ? keypair.createdAt + REJECT_AFTER_TIME : NEVER;
}

function forget(keypair: Keypair | null): DeviceEffect[] {
  return keypair ? [{ type: "forget-keypair", peer: keypair.peer, slot: keypair.slot }] : [];
}
