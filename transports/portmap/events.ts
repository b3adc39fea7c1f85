/**
 * What the port mapping is told, asks for and reports (see `machine.ts`).
 * @module
 */
import type { Endpoint, Ip } from "../../core/ip.ts";
import type { SoapCall } from "./upnp.ts";

export type PortMapProtocol = "pcp" | "nat-pmp" | "upnp";

/** For users: what was tried and what came of it. */
export interface PortMapState {
  readonly state: "none" | "searching" | "mapped" | "failed";
  readonly protocol: PortMapProtocol | null;
  readonly external: Endpoint | null;
  readonly gateway: Ip | null;
  readonly lastError: string | null;
  readonly tried: readonly { readonly protocol: PortMapProtocol; readonly result: string }[];
}

export type PortMapEvent =
  | { readonly type: "tick" }
  /** Begins anew, as after a change of networks; an older mapping is another network's. */
  | {
    readonly type: "start";
    readonly gateway: Ip | null;
    readonly localIp: Ip;
    readonly port: number;
  }
  | { readonly type: "datagram"; readonly from: Endpoint; readonly bytes: Uint8Array }
  /** Of a request that was asked for; a null body when there was no answer. */
  | {
    readonly type: "http";
    readonly id: number;
    readonly status: number;
    readonly body: string | null;
  }
  /** Gives the port back. */
  | { readonly type: "stop" };

export type PortMapEffect =
  | { readonly type: "transmit"; readonly to: Endpoint; readonly bytes: Uint8Array }
  | {
    readonly type: "http";
    readonly id: number;
    readonly url: string;
    readonly call: SoapCall | null;
  }
  /** {@link PortMapping.report} has another `external` or `state`. */
  | { readonly type: "changed" };

/** Before anything was tried. */
export const NOTHING: PortMapState = {
  state: "none",
  protocol: null,
  external: null,
  gateway: null,
  lastError: null,
  tried: [],
};
