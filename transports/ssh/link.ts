/**
 * SSH as a link, for networks that let TCP pass but not UDP: a server that peers dial, and a dialer
 * of peers. One connection per peer, opened by either of the two.
 *
 * When both dial at once, both keep the connection that the node with the smaller id opened. Else a
 * new connection takes the place of the old one: whoever opens it has lost the old one.
 * @module
 */
import type { Identity } from "../../core/identity/keys.ts";
import type { PeerId } from "../../core/ids.ts";
import type { Endpoint } from "../../core/ip.ts";
import type { Link, LinkEvents, Train } from "../../core/link.ts";
import type { Millis } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import { type Connect, connectTcp, openCarrier } from "./client.ts";
import { type Carrier, SshConnection } from "./connection.ts";
import { Dialer } from "./dialer.ts";
import { isKeyOf, type Members } from "./keys.ts";
import { LIMITS, type Limits } from "./limits.ts";
import { SshListener } from "./server.ts";

/** Connections of one peer that wait for their end while another one is used. */
const MAX_RETIRED = 3;

export interface SshLinkOptions extends Members {
  readonly identity: Identity;
  /** Where to listen; another port is taken when that one is not free. Null: only dial. */
  readonly listen: { readonly hostname: string; readonly port: number } | null;
  readonly events: LinkEvents;
  readonly random: Random;
  /** Monotonic, suspended time included. */
  readonly clock: () => Millis;
  /** Opens byte streams to listeners, e.g. through a proxy; TCP when absent. */
  readonly connect?: Connect;
  readonly limits?: Limits;
}

/** All there is with one peer. */
interface Way {
  connection: SshConnection | null;
  /** Null while nobody asked to dial. */
  dialer: Dialer<Carrier> | null;
  /** The last failure told; the same one is not told again and again. */
  problem: string | null;
}

/** Connections with peers over SSH. */
export class SshLink implements Link {
  readonly kind = "ssh";
  readonly name = "ssh";
  readonly #options: SshLinkOptions;
  readonly #limits: Limits;
  readonly #ways = new Map<PeerId, Way>();
  /** Also those that another one replaced, until their sockets are gone. */
  readonly #connections = new Set<SshConnection>();
  #listener: SshListener | null = null;
  #isClosed = false;

  private constructor(options: SshLinkOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
  }

  /**
   * Begins to listen, if it is to.
   * @throws {Error} when neither the port nor any other can be had.
   */
  static async open(options: SshLinkOptions): Promise<SshLink> {
    const link = new SshLink(options);
    if (options.listen) await link.#listen(options.listen.hostname, options.listen.port);
    return link;
  }

  /** Where it listens, or null. */
  get port(): number | null {
    return this.#listener?.port ?? null;
  }

  isUp(peer: PeerId): boolean {
    return !this.#isClosed && (this.#ways.get(peer)?.connection ?? null) !== null;
  }

  /** Hanging up ends only what this node opened: a peer that dials us says itself when it is done. */
  dial(peer: PeerId, endpoints: readonly Endpoint[]): void {
    if (this.#isClosed || peer === this.#options.identity.peerId) return;
    const way = this.#ways.get(peer);
    if (endpoints.length === 0) {
      way?.dialer?.setEndpoints([]);
      if (way?.connection?.isOurs) way.connection.close("it is not wanted any more");
      return;
    }
    this.#dialerOf(peer).setEndpoints(endpoints);
  }

  send(peer: PeerId, train: Train): boolean {
    return this.#ways.get(peer)?.connection?.send(train) ?? false;
  }

  reconnect(): void {
    if (this.#isClosed) return;
    for (const connection of [...this.#connections]) {
      connection.close("this machine's network has changed");
    }
    for (const { dialer } of this.#ways.values()) dialer?.restart();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const ways = [...this.#ways.values()];
    this.#ways.clear();
    const connections = [...this.#connections];
    for (const connection of connections) connection.close("this node closed it");
    await Promise.all([
      this.#listener?.close(),
      ...ways.map(({ dialer }) => dialer?.stop()),
      ...connections.map(({ ended }) => ended),
    ]);
  }

  async #listen(hostname: string, port: number): Promise<void> {
    const options = {
      identity: this.#options.identity,
      members: this.#options,
      limits: this.#limits,
      onOpen: (peer: PeerId, carrier: Carrier) => this.#opened(peer, carrier, null),
    };
    this.#listener = await SshListener.open(options, hostname, port);
  }

  #wayOf(peer: PeerId): Way {
    let way = this.#ways.get(peer);
    if (!way) this.#ways.set(peer, way = { connection: null, dialer: null, problem: null });
    return way;
  }

  #dialerOf(peer: PeerId): Dialer<Carrier> {
    const way = this.#wayOf(peer);
    if (way.dialer) return way.dialer;
    way.dialer = new Dialer<Carrier>({
      limits: this.#limits,
      random: this.#options.random,
      clock: this.#options.clock,
      open: (endpoint, signal) => this.#open(peer, endpoint, signal),
      discard: ({ socket }) => socket.destroy(),
      onOpen: (carrier, endpoint) => this.#opened(peer, carrier, endpoint),
      onFailure: (why) => this.#failed(peer, why),
    });
    if (way.connection) way.dialer.connected();
    return way.dialer;
  }

  #open(peer: PeerId, endpoint: Endpoint, signal: AbortSignal): Promise<Carrier> {
    const { identity, connect = connectTcp } = this.#options;
    const peerKey = this.#options.publicKeyOf(peer);
    if (!peerKey) throw new Error("the peer is not a member");
    return openCarrier(endpoint, { identity, peerKey, connect }, signal);
  }

  /** @param endpoint Where this node dialled; null when the peer did. */
  #opened(peer: PeerId, carrier: Carrier, endpoint: Endpoint | null): void {
    const { clock, events } = this.#options;
    const publicKey = this.#options.publicKeyOf(peer);
    if (this.#isClosed || !publicKey) return void carrier.socket.destroy();
    const way = this.#wayOf(peer);
    const connection: SshConnection = new SshConnection({
      ...carrier,
      peer,
      isOurs: endpoint !== null,
      limits: this.#limits,
      clock,
      isMember: () => isKeyOf(peer, publicKey, this.#options),
      onTrain: (train) => events.received(peer, train),
      onClosed: (why) => this.#closed(connection, way, why),
    });
    this.#connections.add(connection);
    connection.ended.then(() => this.#connections.delete(connection));
    const old = way.connection;
    // The peer may not know yet of the one that stays, and would take an end for the end of all.
    if (old && this.#isBetter(old, connection)) return this.#retire(connection);
    way.connection = connection;
    way.problem = null;
    way.dialer?.connected();
    if (old) return this.#retire(old);
    events.changed(peer, true, endpoint ? `connected to ${endpoint}` : "the peer connected");
  }

  /** Ends one that is not used any more, in a while. */
  #retire(connection: SshConnection): void {
    connection.retire();
    const { peer } = connection;
    const used = this.#ways.get(peer)?.connection;
    const retired = [...this.#connections].filter((each) => each.peer === peer && each !== used);
    if (retired.length > MAX_RETIRED) retired[0]!.close("there are too many connections");
  }

  /** Whether both dialled at once, and the older one is the one that both keep. */
  #isBetter(older: SshConnection, newer: SshConnection): boolean {
    if (older.isOurs === newer.isOurs) return false;
    if (newer.openedAt - older.openedAt >= this.#limits.crossingMs) return false;
    return older.isOurs === (this.#options.identity.peerId < older.peer);
  }

  #closed(connection: SshConnection, way: Way, why: string): void {
    if (this.#isClosed || way.connection !== connection) return;
    way.connection = null;
    way.problem = why;
    if (way.dialer) way.dialer.lost();
    else this.#ways.delete(connection.peer);
    this.#options.events.changed(connection.peer, false, why);
  }

  #failed(peer: PeerId, why: string): void {
    const way = this.#wayOf(peer);
    if (this.#isClosed || way.problem === why) return;
    way.problem = why;
    this.#options.events.changed(peer, false, why);
  }
}
