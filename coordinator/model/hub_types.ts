/**
 * What goes into the control hub and comes out of it.
 * @module
 */
import type { FeedMessage } from "../../core/control/feed.ts";
import type { ServerMessage } from "../../core/control/messages.ts";
import type { RecordVerifier } from "../../core/control/roster.ts";
import type { PeerId } from "../../core/ids.ts";
import type { Ip } from "../../core/ip.ts";
import type { Random } from "../../core/random.ts";
import type { SyncAlert } from "../../core/state/sync.ts";
import type { Adoption } from "./adoption.ts";
import type { ModelEvent } from "./apply.ts";
import type { Mesh } from "./mesh.ts";
import type { ConnectionId } from "./presence.ts";
import type { Registry } from "./registry.ts";

/** What happened, and the coordinator's wall time when it did. */
export type HubEvent =
  & { readonly wallTime: number }
  & (
    | { readonly type: "connect"; readonly connection: ConnectionId; readonly remote: Ip }
    | { readonly type: "message"; readonly connection: ConnectionId; readonly text: string }
    | { readonly type: "close"; readonly connection: ConnectionId }
    /** The model or the mesh's log changed by another way, e.g. a registration. */
    | { readonly type: "changed"; readonly events: readonly ModelEvent[] }
    /** For a follower: what the node beside it knows; see `core/control/feed.ts`. */
    | { readonly type: "fed"; readonly message: FeedMessage }
    | { readonly type: "tick" }
  );

export type HubEffect =
  | {
    readonly type: "send";
    readonly connection: ConnectionId;
    /** Shared between receivers: serialise it once. */
    readonly message: ServerMessage;
  }
  /** Close it once what was sent is out; its events are ignored from here on. */
  | { readonly type: "close"; readonly connection: ConnectionId }
  /** Nodes have left or were revoked: whoever else serves them must know. */
  | { readonly type: "gone"; readonly peers: readonly PeerId[] }
  | { readonly type: "alert"; readonly alert: SyncAlert };

export interface ControlHubOptions {
  readonly registry: Registry;
  readonly mesh: Mesh;
  readonly random: Random;
  /** Addresses under which this machine is reached, for a node on it that connects by loopback. */
  readonly publicIps?: readonly Ip[];
  /** UDP ports of this coordinator's STUN responders. */
  readonly stunPorts?: readonly number[];
  readonly verifier?: RecordVerifier;
  /** Makes this a follower, which takes names and addresses from the members' own records. */
  readonly adoption?: Adoption | null;
}
