/**
 * What the daemon says about exits and routes, behind `exit-node` and `route`.
 * @module
 */
import type { OnExitLoss } from "../exit/client_plan.ts";
import type { Obstacle } from "../exit/obstacles.ts";
import type { RouteState } from "../exit/ways.ts";
import type { PeerId } from "../ids.ts";

/** Where this node's traffic to the internet goes. */
export type ExitState =
  /** No exit is asked for. */
  | "off"
  | "in-use"
  /** Nowhere, until an exit is there. */
  | "blocked"
  /** Past the mesh, because the exit is lost and the user wants it so. */
  | "direct";

/** One peer that offers to be an exit, or that the user asked for. */
export interface ExitView {
  /** Null for a name that no peer has. */
  readonly id: PeerId | null;
  readonly name: string;
  readonly online: boolean | null;
  readonly isOffering: boolean;
  /** Whether the policy lets this node use it. */
  readonly isAllowed: boolean;
  readonly isWanted: boolean;
  readonly isInUse: boolean;
  /** Whether it answers; null where nobody asks. */
  readonly isHealthy: boolean | null;
}

/** `GET /v1/exits`. */
export interface ExitReport {
  readonly state: ExitState;
  /** Name of the exit in use, or lost. */
  readonly exit: string | null;
  /** As the user named them, the most wanted first. */
  readonly wanted: readonly string[];
  readonly onLoss: OnExitLoss;
  readonly lan: boolean;
  /** Why traffic does not go as it is asked to, one sentence, or null. */
  readonly problem: string | null;
  readonly exits: readonly ExitView[];
  readonly own: {
    readonly isOffering: boolean;
    readonly isAllowed: boolean;
    readonly obstacles: readonly Obstacle[];
  };
}

/** `GET /v1/routes`. */
export interface RoutesReport {
  /** What this node offers. */
  readonly own: readonly {
    readonly prefix: string;
    /** The prefix by which the mesh knows it. */
    readonly mapped: string;
    readonly isAllowed: boolean;
  }[];
  /** What others offer. */
  readonly others: readonly {
    readonly prefix: string;
    readonly mapped: string;
    readonly via: PeerId;
    readonly name: string;
    readonly state: RouteState;
  }[];
  readonly problem: string | null;
}
