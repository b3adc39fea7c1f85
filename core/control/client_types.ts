/**
 * What goes into the control client and comes out of it.
 * @module
 */
import type { ErrorCode } from "../errors.ts";
import type { Identity } from "../identity/keys.ts";
import type { SignedRecord } from "../identity/record.ts";
import type { PeerId } from "../ids.ts";
import type { Endpoint } from "../ip.ts";
import type { Millis } from "../machine.ts";
import type { Random } from "../random.ts";
import type { ConnectionId } from "./dialer.ts";
import type { Netmap, NodeLinks, NodeMessage } from "./messages.ts";
import type { MeshFacts, NetmapChanges } from "./netmap.ts";
import type { IsMember, Pin, RecordVerifier, Refusal } from "./roster.ts";

export type ControlState = "disconnected" | "connecting" | "connected" | "refused";

export type ControlEvent =
  | { readonly type: "tick" }
  | { readonly type: "open"; readonly connection: ConnectionId }
  | {
    readonly type: "message";
    readonly connection: ConnectionId;
    readonly text: string;
    /** This machine's wall clock, to measure how far it is off. */
    readonly wallTime: number;
  }
  | { readonly type: "closed"; readonly connection: ConnectionId; readonly reason: string }
  | {
    readonly type: "set-endpoints";
    readonly endpoints: readonly Endpoint[];
    readonly udpPort?: number;
    readonly links?: NodeLinks;
  }
  | { readonly type: "set-record"; readonly record: SignedRecord }
  | { readonly type: "set-urls"; readonly urls: readonly string[] }
  /** Says something about the mesh's log, where a coordinator is connected. */
  | { readonly type: "send-log"; readonly text: string }
  /** The mesh's log, or time, has changed who is a member. */
  | { readonly type: "review" }
  /** Tells that a handshake with `peer` begins, so that the peer punches its NAT too. */
  | { readonly type: "call"; readonly peer: PeerId }
  /** The machine woke up or changed networks: drop what there is and connect at once. */
  | { readonly type: "reconnect" };

export type ControlEffect =
  /** Open a WebSocket to `url` (already with path) under this number. */
  | { readonly type: "connect"; readonly connection: ConnectionId; readonly url: string }
  | { readonly type: "send"; readonly connection: ConnectionId; readonly message: NodeMessage }
  /** Close it; its events are ignored from here on. */
  | { readonly type: "close"; readonly connection: ConnectionId }
  | { readonly type: "netmap-changed"; readonly changes: NetmapChanges; readonly full: boolean }
  | { readonly type: "called"; readonly peer: PeerId; readonly endpoints: readonly Endpoint[] }
  /** A coordinator is there to talk about the mesh's log; `key` is what it signs heads with. */
  | { readonly type: "log-open"; readonly key: string }
  | { readonly type: "log-message"; readonly text: string }
  | { readonly type: "log-closed" }
  | { readonly type: "state"; readonly state: ControlState; readonly error: string | null }
  /** A coordinator refused the hello or ended the connection, e.g. with "peer-unknown". */
  | { readonly type: "refused"; readonly code: ErrorCode; readonly message: string }
  /** A peer's record was not believed; for the log. */
  | { readonly type: "record-refused"; readonly refusal: Refusal };

export interface ControlClientOptions {
  readonly identity: Identity;
  /** `wss://host:port/api/v1/control`, tried in order. */
  readonly urls: readonly string[];
  readonly facts: MeshFacts;
  /** Whether the mesh's log has an identity as a member. */
  readonly isMember: IsMember;
  /** The node's own record, `facts.meshId` inside. */
  readonly record: SignedRecord;
  readonly endpoints?: readonly Endpoint[];
  readonly udpPort?: number;
  readonly links?: NodeLinks;
  /** Differs for each start of the process. */
  readonly bootId: string;
  readonly version: string;
  readonly random: Random;
  /** What earlier runs kept. */
  readonly pins?: readonly Pin[];
  readonly netmap?: Netmap;
  /** Shared by the nodes of a simulation to verify each record once. */
  readonly verifier?: RecordVerifier;
}

/** Facts for `status`; times are on the machine's clock. */
export interface ControlReport {
  readonly url: string;
  readonly state: ControlState;
  readonly since: Millis;
  readonly rtt: { readonly value: Millis; readonly at: Millis } | null;
  /** This machine's wall clock minus the coordinator's. */
  readonly clockOffsetMs: number | null;
  readonly lastError: string | null;
}
