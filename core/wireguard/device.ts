/**
 * The control half of WireGuard for all peers of a node: handshakes, timers, keys (paper, section 6).
 *
 * It never sees a data packet. The data plane says that data was sent, received or wanted; this
 * machine answers with keypairs to install and messages to transmit. Per-peer state and its
 * transitions are in `peer.ts`; here messages find their peer.
 *
 * A received initiation does not end one that is under way: when two ends start at once, both
 * handshakes complete and either keypair works, so crossing loses nothing.
 * @module
 */
import { assert, unreachable } from "../assert.ts";
import { toHex } from "../bytes.ts";
import type { Drop } from "../drops.ts";
import type { Endpoint } from "../ip.ts";
import type { Machine, Millis } from "../machine.ts";
import { type KeyPair, keyPairOf } from "../noise/handshake_state.ts";
import type { Random } from "../random.ts";
import { KEYPAIR_SLOT_BITS, KEYPAIRS_PER_PEER, REKEY_AFTER_TIME } from "./constants.ts";
import { CookieChecker } from "./cookie.ts";
import { consumeInitiation } from "./handshake.ts";
import { COOKIE, handshakeType, INITIATION, readIndex, RESPONSE } from "./messages.ts";
import { Peer, type PeerReport } from "./peer.ts";
import { RateLimiter } from "./rate_limiter.ts";

/** A peer's number, 0 to 4095, chosen by the caller. */
export type PeerSlot = number;

/** What a peer is configured with. */
export interface PeerOptions {
  /** 32 bytes, X25519. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; absent for none. */
  readonly presharedKey?: Uint8Array;
  /** Where it may be reached, best first. */
  readonly endpoints: readonly Endpoint[];
  /** Send something at least this often; absent for never. */
  readonly persistentKeepaliveMs?: number;
}

/** What a device is made with. */
export interface DeviceOptions {
  readonly privateKey: Uint8Array;
  readonly random: Random;
  /** Gives 12-byte TAI64N stamps that only grow. */
  readonly timestamp: () => Uint8Array;
  /** Rekey interval; {@link REKEY_AFTER_TIME} unless a test shortens it. */
  readonly rekeyAfterMs?: number;
}

/** A negotiated pair of transport keys. */
export interface Keypair {
  readonly peer: PeerSlot;
  /** `peer * 4 + k`; also the low bits of {@link localIndex}. */
  readonly slot: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  readonly isInitiator: boolean;
  /** A responder's keypair is `next` until the initiator has used it. */
  readonly role: "current" | "next";
  readonly createdAt: Millis;
}

export type DeviceEvent =
  | { readonly type: "tick" }
  | { readonly type: "add-peer"; readonly peer: PeerSlot; readonly options: PeerOptions }
  | { readonly type: "remove-peer"; readonly peer: PeerSlot }
  | {
    readonly type: "set-endpoints";
    readonly peer: PeerSlot;
    readonly endpoints: readonly Endpoint[];
  }
  | {
    readonly type: "datagram";
    readonly from: Endpoint;
    readonly bytes: Uint8Array;
    readonly underLoad: boolean;
  }
  | { readonly type: "data-sent"; readonly peer: PeerSlot }
  | { readonly type: "data-received"; readonly peer: PeerSlot }
  | { readonly type: "keepalive-received"; readonly peer: PeerSlot }
  | { readonly type: "keepalive-sent"; readonly peer: PeerSlot }
  | { readonly type: "session-wanted"; readonly peer: PeerSlot }
  | { readonly type: "keypair-used"; readonly localIndex: number }
  | { readonly type: "counter-limit"; readonly peer: PeerSlot }
  | { readonly type: "unknown-index"; readonly from: Endpoint }
  | { readonly type: "roamed"; readonly peer: PeerSlot; readonly endpoint: Endpoint };

export type DeviceEffect =
  | { readonly type: "transmit"; readonly to: Endpoint; readonly bytes: Uint8Array }
  | { readonly type: "install-keypair"; readonly keypair: Keypair }
  | { readonly type: "promote-keypair"; readonly peer: PeerSlot; readonly slot: number }
  | { readonly type: "forget-keypair"; readonly peer: PeerSlot; readonly slot: number }
  | { readonly type: "send-keepalive"; readonly peer: PeerSlot }
  | { readonly type: "use-endpoint"; readonly peer: PeerSlot; readonly endpoint: Endpoint }
  | {
    readonly type: "session-up";
    readonly peer: PeerSlot;
    /** Initiation to response, for the initiator. */
    readonly rttMs: number | null;
    readonly endpoint: Endpoint;
  }
  | {
    readonly type: "session-down";
    readonly peer: PeerSlot;
    readonly reason: "gave-up" | "expired" | "removed";
  }
  | { readonly type: "drop"; readonly reason: Drop; readonly from?: Endpoint };

/** All sessions of a node. */
export class Device implements Machine<DeviceEvent, DeviceEffect> {
  readonly #own: KeyPair;
  readonly #random: Random;
  readonly #timestamp: () => Uint8Array;
  readonly #rekeyAfterMs: number;
  readonly #cookies: CookieChecker;
  readonly #limiter = new RateLimiter();
  readonly #peers = new Map<PeerSlot, Peer>();
  readonly #byKey = new Map<string, Peer>();

  constructor(options: DeviceOptions) {
    this.#own = keyPairOf(options.privateKey);
    this.#random = options.random;
    this.#timestamp = options.timestamp;
    this.#rekeyAfterMs = options.rekeyAfterMs ?? REKEY_AFTER_TIME;
    this.#cookies = new CookieChecker(this.#own.publicKey, options.random);
  }

  get publicKey(): Uint8Array {
    return this.#own.publicKey;
  }

  get deadline(): Millis {
    let earliest = Infinity;
    for (const peer of this.#peers.values()) earliest = Math.min(earliest, peer.deadline);
    return earliest;
  }

  /** What is known of a peer's session; null for a slot without a peer. */
  report(peer: PeerSlot): PeerReport | null {
    return this.#peers.get(peer)?.report() ?? null;
  }

  handle(event: DeviceEvent, now: Millis): DeviceEffect[] {
    switch (event.type) {
      case "tick":
        return this.#tick(now);
      case "datagram":
        return this.#datagram(event, now);
      case "add-peer":
        return this.#addPeer(event.peer, event.options, now);
      case "remove-peer":
        return this.#removePeer(event.peer);
      case "unknown-index":
        return this.#unknownIndex(event.from, now);
      case "keypair-used": {
        const peer = this.#ofIndex(event.localIndex);
        return peer?.keypairUsed(event.localIndex) ?? [];
      }
      case "set-endpoints":
        return this.#peers.get(event.peer)?.setEndpoints(event.endpoints, now) ?? [];
      case "data-sent":
        return this.#peers.get(event.peer)?.dataSent(now) ?? [];
      case "data-received":
        return this.#peers.get(event.peer)?.dataReceived(now) ?? [];
      case "keepalive-received":
        return this.#peers.get(event.peer)?.authenticatedReceived(now) ?? [];
      case "keepalive-sent":
        return this.#peers.get(event.peer)?.authenticatedSent(now) ?? [];
      case "session-wanted":
        return this.#peers.get(event.peer)?.sessionWanted(now) ?? [];
      case "counter-limit":
        return this.#peers.get(event.peer)?.initiate(now) ?? [];
      case "roamed":
        return this.#peers.get(event.peer)?.roamed(event.endpoint, now) ?? [];
      default:
        return unreachable(event);
    }
  }

  #tick(now: Millis): DeviceEffect[] {
    const effects: DeviceEffect[] = [];
    for (const peer of this.#peers.values()) {
      if (peer.deadline <= now) effects.push(...peer.tick(now));
    }
    return effects;
  }

  #addPeer(slot: PeerSlot, options: PeerOptions, now: Millis): DeviceEffect[] {
    assert(slot >= 0 && slot * KEYPAIRS_PER_PEER < 2 ** KEYPAIR_SLOT_BITS, "peer slot in range");
    assert(!this.#peers.has(slot), `peer slot ${slot} is free`);
    const key = toHex(options.publicKey);
    assert(!this.#byKey.has(key), "a public key belongs to one peer");
    const peer = new Peer(slot, options, {
      own: this.#own,
      random: this.#random,
      timestamp: this.#timestamp,
      rekeyAfterMs: this.#rekeyAfterMs,
    });
    this.#peers.set(slot, peer);
    this.#byKey.set(key, peer);
    return peer.start(now);
  }

  #removePeer(slot: PeerSlot): DeviceEffect[] {
    const peer = this.#peers.get(slot);
    if (!peer) return [];
    this.#peers.delete(slot);
    this.#byKey.delete(toHex(peer.publicKey));
    return peer.end("removed");
  }

  /** Hostile bytes: whatever is wrong with them becomes a drop. */
  #datagram(
    event: { from: Endpoint; bytes: Uint8Array; underLoad: boolean },
    now: Millis,
  ): DeviceEffect[] {
    const { from, bytes, underLoad } = event;
    const type = handshakeType(bytes);
    if (type === 0) return [{ type: "drop", reason: "malformed", from }];
    if (type === 3) return this.#cookieReply(bytes, from, now);

    const mac1 = type === 1 ? INITIATION.mac1 : RESPONSE.mac1;
    const verdict = this.#cookies.check(bytes, mac1, from, underLoad, now);
    if (verdict === "bad-mac") return [{ type: "drop", reason: "bad-mac", from }];
    if (verdict === "cookie-required") {
      const reply = this.#cookies.reply(bytes, mac1, from, now);
      return [{ type: "transmit", to: from, bytes: reply }, {
        type: "drop",
        reason: "cookie-required",
        from,
      }];
    }
    if (underLoad && !this.#limiter.allow(from, now)) {
      return [{ type: "drop", reason: "rate-limited", from }];
    }
    return type === 1 ? this.#initiation(bytes, from, now) : this.#response(bytes, from, now);
  }

  #initiation(bytes: Uint8Array, from: Endpoint, now: Millis): DeviceEffect[] {
    const initiation = consumeInitiation(bytes, this.#own, this.#random);
    if (!initiation) return [{ type: "drop", reason: "bad-tag", from }];
    const peer = this.#byKey.get(toHex(initiation.remoteStatic));
    if (!peer) return [{ type: "drop", reason: "unknown-peer", from }];
    return peer.initiation(initiation, from, now);
  }

  #response(bytes: Uint8Array, from: Endpoint, now: Millis): DeviceEffect[] {
    const index = readIndex(bytes, RESPONSE.receiver);
    const peer = this.#ofIndex(index);
    if (!peer) return [{ type: "drop", reason: "unknown-peer", from }];
    return peer.response(bytes, index, from, now);
  }

  #cookieReply(bytes: Uint8Array, from: Endpoint, now: Millis): DeviceEffect[] {
    const peer = this.#ofIndex(readIndex(bytes, COOKIE.receiver));
    if (peer?.cookieReply(bytes, now)) return [];
    return [{ type: "drop", reason: peer ? "bad-tag" : "unknown-peer", from }];
  }

  /** A peer still sends on a session that this node has lost, by a restart: make another. */
  #unknownIndex(from: Endpoint, now: Millis): DeviceEffect[] {
    for (const peer of this.#peers.values()) {
      if (peer.isLost && peer.mayBeAt(from)) return peer.initiate(now);
    }
    return [];
  }

  #ofIndex(localIndex: number): Peer | undefined {
    const slot = localIndex & (2 ** KEYPAIR_SLOT_BITS - 1);
    return this.#peers.get(Math.floor(slot / KEYPAIRS_PER_PEER));
  }
}
