/** Placeholder until its author's file replaces it. @module */
import type { Endpoint } from "../../ip.ts";
import type { Readiness } from "./readiness.ts";
export class PunchSockets {
  constructor(_receive: (socket: number, from: Endpoint, bytes: Uint8Array) => void, _readiness: Readiness) {}
  open(_count: number): number[] {
    return [];
  }
  send(_socket: number, _to: Endpoint, _bytes: Uint8Array): boolean {
    return false;
  }
  close(_socket: number): void {}
  async shutdown(): Promise<void> {}
}
