/**
 * What the port mapping (`machine.ts`) and the pinhole (`pinhole.ts`) are told, ask for and report.
 * @module
 */
import type { Endpoint, Ip, Prefix } from "../../core/ip.ts";
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

export type PinholeProtocol = "pcp" | "upnp";

/** The same of the IPv6 firewall. */
export interface PinholeState {
  readonly state: "none" | "searching" | "open" | "failed";
  readonly protocol: PinholeProtocol | null;
  /** Where datagrams get in. */
  readonly endpoint: Endpoint | null;
  readonly gateway: Ip | null;
  readonly lastError: string | null;
  readonly tried: readonly { readonly protocol: PinholeProtocol; readonly result: string }[];
}

/** The way to the internet over IPv6. */
export interface FirewallRoute {
  /** Link-local as a rule, and then of {@link interfaceName}. */
  readonly gateway: Ip;
  readonly interfaceName: string;
  /** This machine's global address there. */
  readonly localIp: Ip;
  /** Ranges whose addresses are on the link, the router's among them. */
  readonly onLink: readonly Prefix[];
}

/** What both are told. */
export type RouterEvent =
  | { readonly type: "tick" }
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

/** Begins anew, as after a change of networks; an older mapping is another network's. */
export interface PortMapStart {
  readonly type: "start";
  readonly gateway: Ip | null;
  readonly localIp: Ip;
  readonly port: number;
}

/** The same of the pinhole; on the same network, what is open stays so. */
export interface PinholeStart {
  readonly type: "start";
  readonly route: FirewallRoute | null;
  readonly port: number;
}

export type PortMapEvent = RouterEvent | PortMapStart;
export type PinholeEvent = RouterEvent | PinholeStart;

/** What both ask for. */
export type RouterEffect =
  | {
    readonly type: "http";
    readonly id: number;
    readonly url: string;
    readonly call: SoapCall | null;
  }
  /** The machine's `report` is another. */
  | { readonly type: "changed" };

export interface PortMapTransmit {
  readonly type: "transmit";
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

export interface PinholeTransmit extends PortMapTransmit {
  /**
   * The address to send from: a PCP server compares it with the one in the request, while a search
   * from the link's own is answered from the link's own, by which the router is known.
   */
  readonly from: "global" | "link-local";
}

export type PortMapEffect = RouterEffect | PortMapTransmit;
export type PinholeEffect = RouterEffect | PinholeTransmit;

/** Before anything was tried. */
export const NOTHING: PortMapState = {
  state: "none",
  protocol: null,
  external: null,
  gateway: null,
  lastError: null,
  tried: [],
};

/** The same of the pinhole. */
export const NO_PINHOLE: PinholeState = {
  state: "none",
  protocol: null,
  endpoint: null,
  gateway: null,
  lastError: null,
  tried: [],
};
