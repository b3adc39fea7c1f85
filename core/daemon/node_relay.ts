/**
 * Datagrams through another node: it passes them on inside its own sessions with both ends.
 *
 * What is carried is sealed for the far end, so the relaying node sees ciphertext only, and since
 * it comes out of the tunnel, the node knows who sent it: a source address in the mesh belongs to
 * one peer. Nothing of it is reachable from outside the mesh, and no stranger can be relayed to.
 *
 * ```
 * u8 1 onward, 8 bytes peer id of the destination, datagram     to the relaying node
 * u8 2 arrived, 8 bytes peer id of the origin, datagram         from it
 * ```
 * @module
 */
import { fromHex, toHex } from "../bytes.ts";
import type { PeerId } from "../ids.ts";
import type { Ip } from "../ip.ts";
import type { Train } from "../link.ts";
import { nodePath, type PathAddress, relayingNode } from "../path/address.ts";
import type { Carrier } from "./path_shell.ts";

/** UDP port on the mesh address of a relaying node, and of those it relays for. */
export const NODE_RELAY_PORT = 3481;
const ONWARD = 1;
const ARRIVED = 2;
const HEADER = 9;
/** Datagrams that may wait for the socket; more are dropped, as a router would. */
const MAX_WAITING = 256;

export interface NodeRelayOptions {
  /** This node's mesh address. */
  readonly address: Ip;
  /** Whether this node passes datagrams of others on. */
  readonly relays: () => boolean;
  /** The IPv4 mesh address of a member, or null for none. */
  readonly addressOf: (id: PeerId) => Ip | null;
  /** The member with that mesh address, or null. */
  readonly memberAt: (address: Ip) => PeerId | null;
  /** Whether a member is known to pass datagrams on. */
  readonly isRelay: (id: PeerId) => boolean;
  readonly received: (path: PathAddress, from: PeerId, train: Train) => void;
}

/** The socket, and what goes through it; see the module's doc. */
export class NodeRelay implements Carrier {
  readonly #options: NodeRelayOptions;
  readonly #socket: Deno.DatagramConn;
  readonly #ended: Promise<void>;
  #waiting = 0;

  /** @throws when the mesh address cannot be bound. */
  constructor(options: NodeRelayOptions) {
    this.#options = options;
    const { address: hostname } = options;
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname, port: NODE_RELAY_PORT });
    this.#ended = this.#run();
  }

  send(to: PathAddress, peer: PeerId, { bytes, segment }: Train): boolean {
    const relay = relayingNode(to);
    const address = relay === null ? null : this.#options.addressOf(relay);
    if (address === null) return false;
    for (let at = 0; at < bytes.length; at += segment) {
      this.#send(address, ONWARD, peer, bytes.subarray(at, at + segment));
    }
    return true;
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#ended;
  }

  #send(address: Ip, kind: number, id: PeerId, datagram: Uint8Array): void {
    if (this.#waiting >= MAX_WAITING) return;
    const frame = new Uint8Array(HEADER + datagram.length);
    frame[0] = kind;
    frame.set(fromHex(id), 1);
    frame.set(datagram, HEADER);
    this.#waiting++;
    const to = { transport: "udp", hostname: address, port: NODE_RELAY_PORT } as const;
    const done = () => void this.#waiting--;
    // What cannot be sent is lost, as on any path; the pings notice.
    this.#socket.send(frame, to).then(done, done);
  }

  async #run(): Promise<void> {
    try {
      for await (const [frame, from] of this.#socket) {
        if (frame.length <= HEADER || from.transport !== "udp") continue;
        const sender = this.#options.memberAt(from.hostname);
        if (sender !== null) this.#take(frame, sender);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  #take(frame: Uint8Array, sender: PeerId): void {
    const { relays, isRelay, addressOf, received } = this.#options;
    const id = toHex(frame.subarray(1, HEADER));
    const datagram = frame.subarray(HEADER);
    if (frame[0] === ONWARD && relays()) {
      const address = id === sender ? null : addressOf(id);
      if (address !== null) this.#send(address, ARRIVED, sender, datagram);
    } else if (frame[0] === ARRIVED && isRelay(sender)) {
      received(nodePath(sender), id, { bytes: datagram, segment: datagram.length });
    }
  }
}
