/** Placeholder until its author's file replaces it. @module */
import type { Endpoint } from "../ip.ts";
import { NEVER } from "../machine.ts";
import type { Random } from "../random.ts";
import { type NatReport, UNKNOWN_NAT } from "./nat.ts";
export type NatEvent =
  | { type: "tick" }
  | { type: "start"; servers: readonly { endpoints: readonly Endpoint[] }[]; local: readonly Endpoint[] }
  | { type: "datagram"; from: Endpoint; bytes: Uint8Array };
export type NatEffect =
  | { type: "transmit"; to: Endpoint; bytes: Uint8Array }
  | { type: "report"; report: NatReport };
export class NatDiscovery {
  deadline = NEVER;
  report: NatReport = UNKNOWN_NAT;
  constructor(_options: { random: Random }) {}
  handle(_event: NatEvent, _now: number): NatEffect[] {
    return [];
  }
}
