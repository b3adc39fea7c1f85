/**
 * UDP sockets beside the node's own, for a way through a NAT that gives each socket another port.
 * @module
 */
import { SOCKET_MARK } from "../exit/numbers.ts";
import type { PeerId } from "../ids.ts";
import type { Endpoint } from "../ip.ts";
import type { Train } from "../link.ts";
import { extraSocket, type PathAddress, socketPath } from "../path/address.ts";
import { PunchSockets } from "../platform/linux/punch_sockets.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import type { Carrier } from "./path_shell.ts";

/** The sockets, and which peer each was opened for. */
export class ExtraSockets implements Carrier {
  readonly #sockets: PunchSockets;
  readonly #peers = new Map<number, PeerId>();

  /** @param received Takes what comes, and by which path. */
  constructor(
    readiness: Readiness,
    received: (path: PathAddress, from: PeerId, train: Train) => void,
  ) {
    this.#sockets = new PunchSockets(
      (socket: number, from: Endpoint, bytes: Uint8Array) => {
        const peer = this.#peers.get(socket);
        if (peer === undefined || bytes.length === 0) return;
        received(socketPath(socket, from), peer, { bytes, segment: bytes.length });
      },
      readiness,
      SOCKET_MARK,
    );
  }

  /** Opens so many for a peer; returns their numbers. */
  open(peer: PeerId, count: number): readonly number[] {
    const sockets = this.#sockets.open(count);
    for (const socket of sockets) this.#peers.set(socket, peer);
    return sockets;
  }

  send(to: PathAddress, _peer: PeerId, { bytes, segment }: Train): boolean {
    const extra = extraSocket(to);
    if (extra === null || !this.#peers.has(extra.socket)) return false;
    for (let at = 0; at < bytes.length; at += segment) {
      this.#sockets.send(extra.socket, extra.endpoint, bytes.subarray(at, at + segment));
    }
    return true;
  }

  close(sockets: readonly number[]): void {
    for (const socket of sockets) {
      if (this.#peers.delete(socket)) this.#sockets.close(socket);
    }
  }

  async shutdown(): Promise<void> {
    await this.#sockets.shutdown();
  }
}
