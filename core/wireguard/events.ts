/**
 * What the control half of WireGuard is told and what it asks for (see `device.ts`).
 * @module
 */
import type { Drop } from "../drops.ts";
import type { Endpoint } from "../ip.ts";
import type { Millis } from "../machine.ts";

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
  /** Send something at least this often; absent or 0 for never. */
  readonly persistentKeepaliveMs?: number;
}

/** A negotiated pair of transport keys. */
export interface Keypair {
  readonly peer: PeerSlot;
  /** `peer * 4 + k`; also the low bits of {@link localIndex}. */
  readonly slot: number;
  /** Unsigned 32 bits: what the peer puts in a message's receiver field. */
  readonly localIndex: number;
  /** Unsigned 32 bits: the receiver of messages to the peer. */
  readonly remoteIndex: number;
  /** 32 bytes each; the machine keeps no reference to them. */
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  /** What both ends agreed on in the handshake, as bits; 0 for plain WireGuard. */
  readonly features: number;
  readonly isInitiator: boolean;
  /** A responder's keypair is `next`, for opening only, until the initiator has used it. */
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
  /** A message of type 1, 2 or 3, or anything else: hostile bytes. Not kept. */
  | {
    readonly type: "datagram";
    readonly from: Endpoint;
    readonly bytes: Uint8Array;
    readonly underLoad: boolean;
  }
  /** At least one non-empty message was sealed since this was last told. */
  | { readonly type: "data-sent"; readonly peer: PeerSlot }
  /** At least one non-empty authenticated message was opened since this was last told. */
  | { readonly type: "data-received"; readonly peer: PeerSlot }
  | { readonly type: "keepalive-received"; readonly peer: PeerSlot }
  | { readonly type: "keepalive-sent"; readonly peer: PeerSlot }
  /** A packet waits and there is no key to seal it with. */
  | { readonly type: "session-wanted"; readonly peer: PeerSlot }
  /** The first authenticated message came on a keypair; more of these change nothing. */
  | { readonly type: "keypair-used"; readonly localIndex: number }
  /** So many messages were sealed with the current key that another is due. */
  | { readonly type: "counter-limit"; readonly peer: PeerSlot }
  /** Known from elsewhere: the peer began anew, so the session with it is of no use. */
  | { readonly type: "peer-restarted"; readonly peer: PeerSlot }
  /** Transport data came for an index that this node does not know. */
  | { readonly type: "unknown-index"; readonly from: Endpoint }
  /** Authenticated data came from another endpoint; the data plane already answers there. */
  | { readonly type: "roamed"; readonly peer: PeerSlot; readonly endpoint: Endpoint };

export type DeviceEffect =
  /** `to` may name a path that is no UDP endpoint (`core/path/address.ts`); it then needs `peer`. */
  | {
    readonly type: "transmit";
    readonly to: Endpoint;
    readonly bytes: Uint8Array;
    readonly peer?: PeerSlot;
  }
  /** Opens from here on; with role `current` it also seals. */
  | { readonly type: "install-keypair"; readonly keypair: Keypair }
  /** Seal with this one from here on; also repeated when the data plane seems to have lost it. */
  | { readonly type: "promote-keypair"; readonly peer: PeerSlot; readonly slot: number }
  /** Erase it. */
  | { readonly type: "forget-keypair"; readonly peer: PeerSlot; readonly slot: number }
  /** Seal an empty message on the current keypair. */
  | { readonly type: "send-keepalive"; readonly peer: PeerSlot }
  /** A handshake proved this endpoint: data goes there. */
  | { readonly type: "use-endpoint"; readonly peer: PeerSlot; readonly endpoint: Endpoint }
  /** Both ends hold a fresh keypair, and this one seals with it. At every rekey too. */
  | {
    readonly type: "session-up";
    readonly peer: PeerSlot;
    /** Initiation to response for the initiator, response to first use for the other; or null. */
    readonly rttMs: number | null;
    readonly endpoint: Endpoint;
  }
  | {
    readonly type: "session-down";
    readonly peer: PeerSlot;
    /** `gave-up`: 90 s of initiations without an answer. `expired`: the key is too old. */
    readonly reason: "gave-up" | "expired" | "removed";
  }
  | { readonly type: "drop"; readonly reason: Drop; readonly from?: Endpoint };
