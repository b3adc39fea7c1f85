/**
 * What the path agent is told and what it asks for (see `agent.ts`).
 * @module
 */
import type { Endpoint } from "../ip.ts";
import type { DeviceEvent, PeerSlot } from "../wireguard/events.ts";
import type { PathAddress } from "./address.ts";
import type { Offer, PathMessage } from "./messages.ts";
import type { PathPreference } from "./peer_paths.ts";

export type PathEvent =
  | { readonly type: "tick" }
  | { readonly type: "peer-added"; readonly peer: PeerSlot; readonly id: string }
  | { readonly type: "peer-removed"; readonly peer: PeerSlot }
  /** Where the coordinator says that the peer is. */
  | {
    readonly type: "candidates";
    readonly peer: PeerSlot;
    readonly endpoints: readonly Endpoint[];
  }
  /** A session that can carry path messages began or ended. */
  | { readonly type: "session"; readonly peer: PeerSlot; readonly isUp: boolean }
  /** A handshake message was authenticated from there. */
  | { readonly type: "proved"; readonly peer: PeerSlot; readonly path: PathAddress }
  | {
    readonly type: "message";
    readonly peer: PeerSlot;
    readonly from: PathAddress;
    readonly message: PathMessage;
  }
  /** Data was sent or received. */
  | { readonly type: "traffic"; readonly peer: PeerSlot }
  /** A link began or ceased to reach a peer, or all peers when that is null. */
  | {
    readonly type: "link";
    readonly path: PathAddress;
    readonly peer: PeerSlot | null;
    readonly isUp: boolean;
    readonly why: string;
  }
  /** Nodes that pass datagrams on. */
  | { readonly type: "relay-nodes"; readonly nodes: readonly { id: string; peer: PeerSlot }[] }
  /** What this node tells peers about itself. */
  | { readonly type: "offer"; readonly offer: Offer }
  /** Sockets for hole punching are open. */
  | { readonly type: "sockets"; readonly peer: PeerSlot; readonly sockets: readonly number[] }
  /** Addresses or routes changed, or the machine woke up. */
  | { readonly type: "network-changed" }
  | {
    readonly type: "prefer";
    readonly peer: PeerSlot;
    readonly preference: PathPreference;
  };

export type PathEffect =
  | {
    readonly type: "send-path-message";
    readonly peer: PeerSlot;
    readonly to: PathAddress;
    readonly message: PathMessage;
    /** Length of the payload to seal at least; 0 for its own. */
    readonly size: number;
    /** Whether no router may fragment it. */
    readonly df: boolean;
  }
  | {
    readonly type: "use-path";
    readonly peer: PeerSlot;
    readonly path: PathAddress;
    /** Every datagram goes there too; null normally. */
    readonly standby: PathAddress | null;
    /** Largest packet to seal for the peer, or null where the interface's limit is enough. */
    readonly mtu: number | null;
    readonly why: string;
    /** Whether the path before works: what is under way there should arrive first. */
    readonly drain: boolean;
  }
  /** A peer saw this node's socket there. */
  | { readonly type: "observed"; readonly endpoint: Endpoint }
  /** A link that dials should try to reach the peer: there is no direct path. */
  | { readonly type: "want-link"; readonly peer: PeerSlot }
  /** A session is needed with a node that may pass datagrams on. */
  | { readonly type: "want-session"; readonly peer: PeerSlot }
  /** Open UDP sockets, tell their numbers. */
  | { readonly type: "open-sockets"; readonly peer: PeerSlot; readonly count: number }
  | { readonly type: "close-sockets"; readonly sockets: readonly number[] };

/** The effect that sends `message` as it is. */
export function sending(
  peer: PeerSlot,
  to: PathAddress,
  message: PathMessage,
): PathEffect & { type: "send-path-message" } {
  return { type: "send-path-message", peer, to, message, size: 0, df: false };
}

/** What the agent is made with. */
export interface PathAgentOptions {
  /** The interface's, in bytes: no path needs to carry more. */
  readonly mtu: number;
  /** Draws the ports that are tried; 32 bits. */
  readonly seed: number;
  /** For peers that no other was set for. */
  readonly preference?: PathPreference;
}

/** What the session's machine has to know of a decision about paths. */
export function toldToDevice(effect: PathEffect): DeviceEvent | null {
  switch (effect.type) {
    case "use-path":
      // Handshakes go the same way.
      return { type: "roamed", peer: effect.peer, endpoint: effect.path };
    case "send-path-message":
      return { type: "keepalive-sent", peer: effect.peer };
    case "want-session":
      return { type: "session-wanted", peer: effect.peer };
    default:
      return null;
  }
}
