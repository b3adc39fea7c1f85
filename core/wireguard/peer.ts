/**
 * One peer's session: its handshake under way, its endpoint, its timers and keypairs (WireGuard
 * paper, section 6).
 *
 * | state | means |
 * | --- | --- |
 * | down | nobody wanted a session yet, or its key expired unused |
 * | handshaking | initiations go out every 5 s |
 * | up | there is a current keypair, perhaps while a handshake for another is under way |
 * | unreachable | 90 s of initiations brought no answer; the next packet tries again |
 * @module
 */
import { toHex } from "../bytes.ts";
import type { Endpoint } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import type { HandshakeState } from "../noise/handshake_state.ts";
import {
  INITIATION_INTERVAL,
  RECEIVER_REKEY_DELAY,
  REJECT_AFTER_TIME,
  REKEY_ATTEMPT_TIME,
  REKEY_TIMEOUT,
  RESPONDER_REKEY_DELAY,
} from "./constants.ts";
import { CookieJar } from "./cookie.ts";
import type { DeviceEffect, Keypair, PeerOptions } from "./events.ts";
import {
  consumeResponse,
  createInitiation,
  createResponse,
  type HandshakeContext,
  type Initiation,
} from "./handshake.ts";
import { Keypairs, slotOf } from "./keypairs.ts";
import { INITIATION, RESPONSE } from "./messages.ts";
import { isNewer, TIMESTAMP_BYTES } from "./tai64n.ts";
import { jitter, SessionTimers } from "./timers.ts";

/** What every peer of a device shares. */
export interface PeerContext extends HandshakeContext {
  readonly timestamp: () => Uint8Array;
  readonly rekeyAfterMs: number;
}

/** What is known of a session. */
export interface PeerReport {
  readonly state: "up" | "handshaking" | "down" | "unreachable";
  /** When the last handshake was completed or answered. */
  readonly lastHandshakeAt: Millis | null;
  readonly endpoint: Endpoint | null;
  readonly candidates: readonly Endpoint[];
  /** Initiation to response, and when that was measured. */
  readonly rtt: { readonly ms: number; readonly at: Millis } | null;
  /** Initiations sent since the last answer. */
  readonly attempts: number;
}

/** An initiation that waits for its response. */
interface Pending {
  readonly localIndex: number;
  readonly state: HandshakeState;
  readonly bytes: Uint8Array;
  readonly sentAt: Millis;
  readonly tried: Set<Endpoint>;
}

/** After this long without proof an endpoint is one candidate among others. */
const ENDPOINT_TRUST_MS = REJECT_AFTER_TIME;

/** Restarts of a peer, as others tell of them, cause an initiation at most this often. */
const RESTART_INTERVAL_MS = 1_000;

/** One peer. Methods return effects; `now` never decreases. */
export class Peer {
  readonly slot: number;
  readonly #options: PeerOptions;
  readonly #context: PeerContext;
  readonly #jar: CookieJar;
  readonly #keypairs: Keypairs;
  readonly #timers: SessionTimers;
  #candidates: readonly Endpoint[];
  #endpoint: Endpoint | null = null;
  #endpointProvenAt: Millis = -Infinity;

  #pending: Pending | null = null;
  #retryAt: Millis = NEVER;
  #attemptsSince: Millis = 0;
  #attempts = 0;
  #gaveUp = false;
  #lastInitiationSentAt: Millis = -Infinity;

  #newestTimestamp: Uint8Array = new Uint8Array(TIMESTAMP_BYTES);
  #lastInitiationReceivedAt: Millis = -Infinity;
  #lastHandshakeAt: Millis | null = null;
  #rtt: { ms: number; at: Millis } | null = null;

  constructor(slot: number, options: PeerOptions, context: PeerContext) {
    this.slot = slot;
    this.#options = options;
    this.#context = context;
    this.#jar = new CookieJar(options.publicKey);
    const isPreferred = toHex(context.own.publicKey) > toHex(options.publicKey);
    this.#keypairs = new Keypairs(slot, isPreferred);
    this.#timers = new SessionTimers(options.persistentKeepaliveMs ?? 0, context.random);
    this.#candidates = options.endpoints;
  }

  get publicKey(): Uint8Array {
    return this.#options.publicKey;
  }

  /** Whether this node has no key to send to the peer with. */
  get isLost(): boolean {
    return this.#keypairs.current === null;
  }

  get deadline(): Millis {
    return Math.min(this.#retryAt, this.#timers.deadline, this.#keypairs.deadline);
  }

  report(): PeerReport {
    return {
      state: this.#state(),
      lastHandshakeAt: this.#lastHandshakeAt,
      endpoint: this.#endpoint,
      candidates: this.#candidates,
      rtt: this.#rtt,
      attempts: this.#attempts,
    };
  }

  /** A persistent keepalive wants a session from the beginning. */
  start(now: Millis): DeviceEffect[] {
    if (!this.#options.persistentKeepaliveMs) return [];
    this.#timers.touch(now);
    return this.initiate(now);
  }

  /** Ends the session and forgets every key. */
  end(): DeviceEffect[] {
    const effects: DeviceEffect[] = [];
    this.#keypairs.clear(effects);
    this.#abandon();
    this.#timers.stop();
    effects.push({ type: "session-down", peer: this.slot, reason: "removed" });
    return effects;
  }

  /** Whether datagrams from `endpoint` may be this peer's. */
  mayBeAt(endpoint: Endpoint): boolean {
    return this.#endpoint === endpoint || this.#candidates.includes(endpoint);
  }

  /** An initiation under way goes at once to endpoints that it has not been sent to. */
  setEndpoints(endpoints: readonly Endpoint[]): DeviceEffect[] {
    this.#candidates = endpoints;
    const pending = this.#pending;
    if (!pending) return [];
    return this.#sendTo(pending, endpoints.filter((endpoint) => !pending.tried.has(endpoint)));
  }

  roamed(endpoint: Endpoint, now: Millis): DeviceEffect[] {
    this.#endpoint = endpoint;
    this.#endpointProvenAt = now;
    return [];
  }

  dataSent(now: Millis): DeviceEffect[] {
    this.#timers.dataSent(now);
    return this.#rekeyAfter(now, 0, RESPONDER_REKEY_DELAY);
  }

  dataReceived(now: Millis): DeviceEffect[] {
    this.#timers.dataReceived(now);
    return this.#heard(now);
  }

  /** A transport message too: a session of keepalives only is rekeyed in time. */
  keepaliveSent(now: Millis): DeviceEffect[] {
    this.#timers.anythingSent(now);
    return this.#rekeyAfter(now, 0);
  }

  keepaliveReceived(now: Millis): DeviceEffect[] {
    this.#timers.anythingReceived(now);
    return this.#heard(now);
  }

  /** A packet waits for a keypair. */
  sessionWanted(now: Millis): DeviceEffect[] {
    if (this.isLost) return this.initiate(now);
    // The flag crossed the installation on its way, or the data plane lost its place: say again.
    const effects: DeviceEffect[] = [];
    if (this.#endpoint) {
      effects.push({ type: "use-endpoint", peer: this.slot, endpoint: this.#endpoint });
    }
    this.#keypairs.promoteAgain(effects);
    return effects;
  }

  /** The other end has sent on a keypair. One that this end answered with becomes current. */
  keypairUsed(localIndex: number, now: Millis): DeviceEffect[] {
    const effects: DeviceEffect[] = [];
    if (this.#keypairs.use(localIndex, effects) !== "confirmed") return effects;
    // The session is fresh: an initiation of this end that crossed it has become needless.
    this.#abandon();
    this.#timers.anythingReceived(now);
    // An initiator confirms at once, so this is a round trip too, from response to confirmation.
    const rttMs = this.#lastHandshakeAt === null ? null : now - this.#lastHandshakeAt;
    if (rttMs !== null && rttMs < REKEY_TIMEOUT) this.#rtt = { ms: rttMs, at: now };
    const endpoint = this.#endpoint!;
    effects.push({ type: "session-up", peer: this.slot, rttMs, endpoint });
    return effects;
  }

  /** Starts a handshake, unless one is under way or began within {@link REKEY_TIMEOUT}. */
  initiate(now: Millis): DeviceEffect[] {
    if (this.#pending || now - this.#lastInitiationSentAt < REKEY_TIMEOUT) return [];
    this.#attemptsSince = now;
    this.#attempts = 0;
    return this.#sendInitiation(now);
  }

  /**
   * Starts a handshake anew with a peer that has lost its part. What was sent to the former run
   * does not count, nor does where that was.
   */
  restarted(now: Millis): DeviceEffect[] {
    this.#endpointProvenAt = -Infinity;
    this.#attemptsSince = now;
    this.#attempts = 0;
    this.#retryAt = Math.max(now, this.#lastInitiationSentAt + RESTART_INTERVAL_MS);
    return this.#retryAt <= now ? this.#sendInitiation(now) : [];
  }

  /** Answers an initiation that authenticated as this peer's. */
  initiation(initiation: Initiation, from: Endpoint, now: Millis): DeviceEffect[] {
    if (!isNewer(initiation.timestamp, this.#newestTimestamp)) {
      return [{ type: "drop", reason: "replay", from }];
    }
    if (now - this.#lastInitiationReceivedAt < INITIATION_INTERVAL) {
      return [{ type: "drop", reason: "rate-limited", from }];
    }
    const effects: DeviceEffect[] = [];
    this.#keypairs.forgetNext(effects);
    const localIndex = this.#keypairs.newIndex(this.#context.random, effects);
    const response = createResponse(initiation, this.#options.presharedKey, localIndex);
    if (!response) return [...effects, { type: "drop", reason: "bad-tag", from }];

    this.#newestTimestamp = initiation.timestamp;
    this.#lastInitiationReceivedAt = this.#lastHandshakeAt = now;
    this.#gaveUp = false;
    this.#jar.addMacs(response.bytes, RESPONSE.mac1, now);
    const facts = { localIndex, isInitiator: false, createdAt: now };
    this.#keypairs.offer(facts);
    const keypair = { ...facts, ...response.keys, remoteIndex: initiation.sender };
    effects.push(this.#installation(keypair));
    effects.push(...this.#proved(from, now));
    effects.push({ type: "transmit", peer: this.slot, to: from, bytes: response.bytes });
    this.#timers.anythingReceived(now);
    return effects;
  }

  /** Completes the handshake under way, if this is the response to it. */
  response(bytes: Uint8Array, index: number, from: Endpoint, now: Millis): DeviceEffect[] {
    const pending = this.#pending;
    if (pending?.localIndex !== index) return [{ type: "drop", reason: "unknown-peer", from }];
    const response = consumeResponse(this.#context, bytes, pending.state);
    if (!response) return [{ type: "drop", reason: "bad-tag", from }];

    this.#abandon();
    this.#attempts = 0;
    this.#gaveUp = false;
    this.#lastHandshakeAt = now;
    const rttMs = now - pending.sentAt;
    this.#rtt = { ms: rttMs, at: now };
    const facts = { localIndex: index, isInitiator: true, createdAt: now };
    this.#keypairs.adopt(facts);
    const keypair = { ...facts, ...response.keys, remoteIndex: response.sender };
    this.#timers.anythingReceived(now);
    return [
      ...this.#proved(from, now),
      this.#installation(keypair),
      // The responder may only send once it has seen the key used.
      { type: "send-keepalive", peer: this.slot },
      { type: "session-up", peer: this.slot, rttMs, endpoint: from },
    ];
  }

  /** Takes a cookie for the next handshake message; false when it is not for the last one. */
  cookieReply(bytes: Uint8Array, now: Millis): boolean {
    return this.#jar.consumeReply(bytes, now);
  }

  tick(now: Millis): DeviceEffect[] {
    const effects: DeviceEffect[] = [];
    if (this.#keypairs.expire(now, effects)) {
      this.#timers.sessionLost();
      effects.push({ type: "session-down", peer: this.slot, reason: "expired" });
    }
    for (const action of this.#timers.due(now)) {
      if (action === "initiate") {
        // Nothing came back from there: look for the peer everywhere.
        this.#endpointProvenAt = -Infinity;
        effects.push(...this.initiate(now));
      } else if (!this.isLost) effects.push({ type: "send-keepalive", peer: this.slot });
      else if (action === "persistent") effects.push(...this.initiate(now));
    }
    if (this.#retryAt <= now) effects.push(...this.#retry(now));
    return effects;
  }

  #state(): PeerReport["state"] {
    if (!this.isLost) return "up";
    if (this.#gaveUp) return "unreachable";
    return this.#pending ? "handshaking" : "down";
  }

  #heard(now: Millis): DeviceEffect[] {
    this.#endpointProvenAt = now;
    return this.#rekeyAfter(now, RECEIVER_REKEY_DELAY);
  }

  /** Starts a handshake when the key is so much older than the rekey interval. */
  #rekeyAfter(now: Millis, asInitiator: Millis, asResponder: Millis = NEVER): DeviceEffect[] {
    const current = this.#keypairs.current;
    if (!current) return [];
    const delay = current.isInitiator ? asInitiator : asResponder;
    const isDue = now - current.createdAt >= this.#context.rekeyAfterMs + delay;
    return isDue ? this.initiate(now) : [];
  }

  #retry(now: Millis): DeviceEffect[] {
    if (now < this.#attemptsSince + REKEY_ATTEMPT_TIME) return this.#sendInitiation(now);
    this.#abandon();
    this.#timers.sessionLost();
    this.#gaveUp = true;
    return [{ type: "session-down", peer: this.slot, reason: "gave-up" }];
  }

  #sendInitiation(now: Millis): DeviceEffect[] {
    this.#abandon();
    const effects: DeviceEffect[] = [];
    const localIndex = this.#keypairs.newIndex(this.#context.random, effects);
    const initiation = createInitiation(this.#context, {
      remoteStatic: this.#options.publicKey,
      presharedKey: this.#options.presharedKey,
      sender: localIndex,
      timestamp: this.#context.timestamp(),
    });
    this.#lastInitiationSentAt = now;
    if (!initiation) return [...effects, { type: "drop", reason: "bad-tag" }];
    this.#jar.addMacs(initiation.bytes, INITIATION.mac1, now);
    this.#keypairs.reserve(localIndex);
    this.#pending = { localIndex, ...initiation, sentAt: now, tried: new Set() };
    this.#attempts++;
    const giveUpAt = this.#attemptsSince + REKEY_ATTEMPT_TIME;
    this.#retryAt = Math.min(giveUpAt, now + REKEY_TIMEOUT + jitter(this.#context.random));
    effects.push(...this.#sendTo(this.#pending, this.#targets(now)));
    return effects;
  }

  /** Forgets the initiation under way. */
  #abandon(): void {
    this.#pending?.state.wipe();
    this.#pending = null;
    this.#keypairs.reserve(null);
    this.#retryAt = NEVER;
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
      return { type: "transmit", peer: this.slot, to, bytes: pending.bytes };
    });
  }

  /** A handshake message authenticated from there: data goes there. */
  #proved(endpoint: Endpoint, now: Millis): DeviceEffect[] {
    this.#endpointProvenAt = now;
    if (this.#endpoint === endpoint) return [];
    this.#endpoint = endpoint;
    return [{ type: "use-endpoint", peer: this.slot, endpoint }];
  }

  #installation(keypair: Omit<Keypair, "peer" | "slot" | "role">): DeviceEffect {
    const role = keypair.isInitiator ? "current" : "next";
    const slot = slotOf(keypair.localIndex);
    return { type: "install-keypair", keypair: { ...keypair, peer: this.slot, slot, role } };
  }
}
