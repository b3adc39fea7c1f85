/**
 * The control half of WireGuard for all peers of a node: handshakes, timers, keys (paper, section 6).
 *
 * It never sees a data packet. The data plane says that data was sent, received or wanted; this
 * machine answers with keypairs to install and messages to transmit. Per-peer state and its
 * transitions are in `peer.ts`; here messages find their peer.
 *
 * Crossing: an initiation that comes while this end's own is under way is answered, and both may
 * complete; `keypairs.ts` settles which session stays. Nothing is lost meanwhile.
 *
 * Not here: sealing, opening, replay windows, allowed IPs (`core/dataplane`).
 * @module
 */
import { assert, unreachable } from "../assert.ts";
import { toHex } from "../bytes.ts";
import type { Endpoint } from "../ip.ts";
import type { Machine, Millis } from "../machine.ts";
import { keyPairOf, nobleX25519, type X25519 } from "../noise/x25519.ts";
import type { Random } from "../random.ts";
import { KEYPAIR_SLOT_BITS, KEYPAIRS_PER_PEER, REKEY_AFTER_TIME } from "./constants.ts";
import { CookieChecker } from "./cookie.ts";
import type { DeviceEffect, DeviceEvent, PeerOptions, PeerSlot } from "./events.ts";
import { consumeInitiation } from "./handshake.ts";
import { slotOf } from "./keypairs.ts";
import { COOKIE, handshakeType, INITIATION, readIndex, RESPONSE } from "./messages.ts";
import { Peer, type PeerContext, type PeerReport } from "./peer.ts";
import { RateLimiter } from "./rate_limiter.ts";

export type { DeviceEffect, DeviceEvent, Keypair, PeerOptions, PeerSlot } from "./events.ts";
export type { PeerReport } from "./peer.ts";

/** What a device is made with. */
export interface DeviceOptions {
  readonly privateKey: Uint8Array;
  readonly random: Random;
  /** Gives 12-byte TAI64N stamps that only grow, in steps that leave room for an offer. */
  readonly timestamp: () => Uint8Array;
  /**
   * What to offer to peers and to accept from them, as four bits; each session has what both ends
   * name (`negotiation.ts`). Absent or 0 for plain WireGuard.
   */
  readonly features?: number;
  /** Rekey interval; {@link REKEY_AFTER_TIME} unless a test shortens it. */
  readonly rekeyAfterMs?: number;
  /** A faster X25519 than the reference implementation; see {@link X25519} for its contract. */
  readonly x25519?: X25519;
}

/** All sessions of a node. */
export class Device implements Machine<DeviceEvent, DeviceEffect> {
  readonly #context: PeerContext;
  readonly #cookies: CookieChecker;
  readonly #limiter = new RateLimiter();
  readonly #peers = new Map<PeerSlot, Peer>();
  readonly #byKey = new Map<string, Peer>();

  constructor(options: DeviceOptions) {
    const { random, timestamp, x25519 = nobleX25519, features = 0 } = options;
    const own = keyPairOf(options.privateKey, x25519);
    const rekeyAfterMs = options.rekeyAfterMs ?? REKEY_AFTER_TIME;
    this.#context = { own, random, timestamp, x25519, features, rekeyAfterMs };
    this.#cookies = new CookieChecker(own.publicKey, random);
  }

  /** This node's own, 32 bytes. */
  get publicKey(): Uint8Array {
    return this.#context.own.publicKey;
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
        return peer?.keypairUsed(event.localIndex, now) ?? [];
      }
      case "set-endpoints":
        return this.#peers.get(event.peer)?.setEndpoints(event.endpoints) ?? [];
      case "data-sent":
        return this.#peers.get(event.peer)?.dataSent(now) ?? [];
      case "data-received":
        return this.#peers.get(event.peer)?.dataReceived(now) ?? [];
      case "keepalive-received":
        return this.#peers.get(event.peer)?.keepaliveReceived(now) ?? [];
      case "keepalive-sent":
        return this.#peers.get(event.peer)?.keepaliveSent(now) ?? [];
      case "session-wanted":
        return this.#peers.get(event.peer)?.sessionWanted(now) ?? [];
      case "counter-limit":
        return this.#peers.get(event.peer)?.initiate(now) ?? [];
      case "peer-restarted":
        return this.#peers.get(event.peer)?.restarted(now) ?? [];
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
    const peer = new Peer(slot, options, this.#context);
    this.#peers.set(slot, peer);
    this.#byKey.set(key, peer);
    return peer.start(now);
  }

  #removePeer(slot: PeerSlot): DeviceEffect[] {
    const peer = this.#peers.get(slot);
    if (!peer) return [];
    this.#peers.delete(slot);
    this.#byKey.delete(toHex(peer.publicKey));
    return peer.end();
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
    const initiation = consumeInitiation(this.#context, bytes);
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
    return this.#peers.get(Math.floor(slotOf(localIndex) / KEYPAIRS_PER_PEER));
  }
}
