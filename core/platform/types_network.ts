/**
 * What does a system tell of its interfaces, addresses and routes, and what does a watch over them
 * owe its user? One interface, one implementation per operating system (`network_watch.ts`).
 * @module
 */
import type { MeshError } from "../errors.ts";
import type { Ip } from "../ip.ts";

/** Whether something is there now or no longer. */
export type NetworkAction = "new" | "del";

export interface LinkEvent {
  readonly type: "link";
  readonly action: NetworkAction;
  readonly index: number;
  readonly name: string;
  /** What somebody wrote on it; empty when nobody did. */
  readonly alias: string;
  /** Switched on, with a carrier. */
  readonly isUp: boolean;
  /** Bytes. */
  readonly mtu: number;
}

export interface AddressEvent {
  readonly type: "address";
  readonly action: NetworkAction;
  readonly index: number;
  /** With its prefix length, e.g. `192.0.2.5/24`. */
  readonly address: string;
  /** False while the system checks that nobody else has it (RFC 4862, 5.4), or when someone has. */
  readonly isUsable: boolean;
}

export interface RouteEvent {
  readonly type: "route";
  readonly action: NetworkAction;
  /** Of the interface it leads to, the first of several; null for one that leads nowhere. */
  readonly index: number | null;
  /** A prefix, or `default` with the family's number. */
  readonly destination: string;
  readonly gateway: Ip | null;
  readonly table: number;
  readonly metric: number;
}

/** What every system tells in one way or another. */
export type NetworkEvent = LinkEvent | AddressEvent | RouteEvent;

/** One change, as for the log. */
export interface NetworkChange {
  readonly kind: "address" | "route" | "link";
  readonly action: NetworkAction;
  /** Null when it is unknown or concerns none alone. */
  readonly interface: string | null;
  readonly detail: string;
}

/** What is told when the system could not say what changed: it may be anything. */
export const EVENTS_LOST: NetworkChange = {
  kind: "link",
  action: "new",
  interface: null,
  detail: "events were lost",
};

export interface NetworkWatchOptions {
  /** The mesh's own interface, which may come and go. */
  readonly ignoreInterface: string;
  /** What changed since the call before, beginning now; at least one change. */
  readonly onChange: (what: readonly NetworkChange[]) => void;
  /** The watch ended by itself: nothing is noticed from here on. */
  readonly onFailure: (error: MeshError) => void;
}

/** A watch that goes on until it is closed. */
export interface NetworkWatch {
  /** Ends it; nothing is told afterwards. Settles when everything is given back. */
  close(): void | Promise<void>;
}
