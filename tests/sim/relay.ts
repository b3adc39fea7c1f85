/**
 * Relays on the simulated internet, and a node's link to one.
 * @module
 */
import type { PeerId } from "../../core/ids.ts";
import type { Link, LinkEvents, Train } from "../../core/link.ts";
import type { Millis } from "../../core/machine.ts";
import type { Site } from "./network.ts";
import type { World } from "./world.ts";

/** Who connects to a relay, and from where. */
export interface RelayClient {
  readonly peer: PeerId;
  /** Null on the internet itself. */
  readonly site: Site | null;
  /** Whether it connects through the site's HTTP proxy. */
  readonly viaProxy?: boolean;
}

/** How a relay is reached. */
export interface RelayOptions {
  readonly name?: string;
  readonly port?: number;
  /** Milliseconds one way between a client and the relay, to which a site's line adds. */
  readonly latency?: readonly [low: Millis, high: Millis];
  /** Limit of each connection in each direction. */
  readonly bytesPerSecond?: number;
}

/** A dial that nothing answers is given up after this. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Bytes that wait for their turn on a limited connection before more are refused. */
const MAX_QUEUED_BYTES = 1_000_000;
/** What TCP waits before it sends a segment again, each time while others follow it (RFC 8985). */
const RETRANSMIT_MS = 200;
/** Pause of a link between its dials. */
const RECONNECT_MS = 1_000;

/** One direction of a connection: in order, and late where segments are lost. */
class Pipe {
  readonly #world: World;
  #lineFreeAt: Millis = 0;
  #lastArrival: Millis = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** False when too much waits already. */
  send(bytes: number, latency: Millis, bytesPerSecond: number, arrive: () => void): boolean {
    const { now } = this.#world;
    const start = Math.max(now, this.#lineFreeAt);
    if (bytes > 0 && start - now > MAX_QUEUED_BYTES / bytesPerSecond * 1_000) return false;
    this.#lineFreeAt = start + bytes / bytesPerSecond * 1_000;
    this.#lastArrival = Math.max(this.#lastArrival, this.#lineFreeAt + latency);
    this.#world.at(this.#lastArrival, arrive);
    return true;
  }
}

interface Connection {
  readonly client: RelayClient;
  readonly events: LinkEvents;
  readonly up: Pipe;
  readonly down: Pipe;
  /** Peers that it was told are absent. */
  readonly missing: Set<PeerId>;
  state: "opening" | "open" | "closed";
}

/** A relay: peers connect to it by TCP, and it passes on what they send to each other. */
export class SimRelay {
  readonly name: string;
  readonly port: number;
  latency: readonly [low: Millis, high: Millis];
  bytesPerSecond: number;
  /** Probability that a segment is lost on its way, which TCP makes a delay. */
  loss = 0;
  /** Whether connections stay open and carry nothing. */
  isStalled = false;
  /** Trains that were passed on. */
  relayed = 0;
  readonly #world: World;
  #isRunning = true;
  /** As the relay knows them. */
  readonly #connections = new Map<PeerId, Connection>();
  /** As the peers know them. */
  readonly #dialled = new Map<PeerId, Connection>();

  constructor(world: World, options: RelayOptions = {}) {
    this.#world = world;
    this.name = options.name ?? "relay";
    this.port = options.port ?? 443;
    this.latency = options.latency ?? [5, 20];
    this.bytesPerSecond = options.bytesPerSecond ?? Infinity;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Opens a connection; a former one of the same peer ends without a word. */
  connect(client: RelayClient, events: LinkEvents): void {
    this.disconnect(client.peer);
    const [up, down] = [new Pipe(this.#world), new Pipe(this.#world)];
    const connection: Connection = {
      client,
      events,
      up,
      down,
      missing: new Set(),
      state: "opening",
    };
    this.#dialled.set(client.peer, connection);
    if (!this.#isAllowed(connection)) {
      this.#world.after(CONNECT_TIMEOUT_MS, () => this.#ended(connection, "connection timed out"));
      return;
    }
    this.#toRelay(connection, 0, () => {
      if (!this.#isRunning) return this.#break(connection, "connection refused");
      this.#connections.set(client.peer, connection);
      this.#toClient(connection, 0, () => {
        connection.state = "open";
        connection.events.changed(null, true, "connected");
      });
      this.#announce(client.peer);
    });
  }

  /** The peer closes its connection; it hears no more of it. */
  disconnect(peer: PeerId): void {
    const connection = this.#dialled.get(peer);
    if (!connection) return;
    this.#dialled.delete(peer);
    connection.state = "closed";
    this.#world.after(this.#draw(connection), () => this.#forget(connection));
  }

  /** Sends a train; false when there is no connection or no room. `train.bytes` are copied. */
  send(from: PeerId, to: PeerId, train: Train): boolean {
    const connection = this.#dialled.get(from);
    if (connection?.state !== "open") return false;
    const copy = { bytes: train.bytes.slice(), segment: train.segment };
    return this.#toRelay(connection, copy.bytes.length, () => this.#forward(connection, to, copy));
  }

  /** Something between breaks one peer's connection. */
  cut(peer: PeerId): void {
    const connection = this.#dialled.get(peer);
    if (connection) this.#break(connection, "connection reset");
  }

  /** `kill -9`: every connection is reset. */
  kill(): void {
    this.#world.note(`${this.name} killed`);
    this.#isRunning = false;
    for (const connection of [...this.#connections.values()]) {
      this.#break(connection, "connection reset");
    }
  }

  start(): void {
    this.#world.note(`${this.name} listens`);
    this.#isRunning = true;
  }

  #forward(from: Connection, to: PeerId, train: Train): void {
    const sender = from.client.peer;
    if (this.#connections.get(sender) !== from) return;
    const target = this.#connections.get(to);
    if (!target) {
      from.missing.add(to);
      const why = "the peer is not connected to this relay";
      this.#toClient(from, 0, () => from.events.changed(to, false, why));
      return;
    }
    this.relayed++;
    this.#toClient(target, train.bytes.length, () => target.events.received(sender, train));
  }

  /** Tells those who asked for a peer in vain that it has come. */
  #announce(peer: PeerId): void {
    for (const other of this.#connections.values()) {
      if (!other.missing.delete(peer)) continue;
      this.#toClient(other, 0, () => other.events.changed(peer, true, "the peer has connected"));
    }
  }

  #isAllowed({ client: { site, viaProxy } }: Connection): boolean {
    return site === null || site.permitsTcp(this.port, viaProxy ?? false);
  }

  #draw({ client: { site } }: Connection): Millis {
    const [low, high] = this.latency;
    const [siteLow, siteHigh] = site?.latency ?? [0, 0];
    return this.#world.between(low + siteLow, high + siteHigh);
  }

  #retransmission(): Millis {
    let delay = 0;
    while (this.loss > 0 && this.#world.chance(this.loss)) delay += RETRANSMIT_MS;
    return delay;
  }

  #toRelay(connection: Connection, bytes: number, act: () => void): boolean {
    return this.#pass(connection, connection.up, bytes, act);
  }

  #toClient(connection: Connection, bytes: number, act: () => void): boolean {
    return this.#pass(connection, connection.down, bytes, act);
  }

  #pass(connection: Connection, pipe: Pipe, bytes: number, act: () => void): boolean {
    const latency = this.#draw(connection) + this.#retransmission();
    return pipe.send(bytes, latency, this.bytesPerSecond, () => {
      if (connection.state === "closed" || this.isStalled) return;
      if (this.#isAllowed(connection)) act();
      else this.#ended(connection, "connection timed out");
    });
  }

  /** The relay's end is gone; the peer learns it one latency later. */
  #break(connection: Connection, why: string): void {
    this.#forget(connection);
    this.#world.after(this.#draw(connection), () => this.#ended(connection, why));
  }

  #ended(connection: Connection, why: string): void {
    if (connection.state === "closed") return;
    connection.state = "closed";
    this.#forget(connection);
    const { peer } = connection.client;
    if (this.#dialled.get(peer) === connection) this.#dialled.delete(peer);
    connection.events.changed(null, false, why);
  }

  #forget(connection: Connection): void {
    const { peer } = connection.client;
    if (this.#connections.get(peer) === connection) this.#connections.delete(peer);
  }
}

/** A node's link to a relay, which connects again when it has lost it. */
export class SimRelayLink implements Link {
  readonly kind = "relay";
  readonly name: string;
  readonly #world: World;
  readonly #relay: SimRelay;
  readonly #client: RelayClient;
  readonly #events: LinkEvents;
  readonly #absent = new Set<PeerId>();
  #isOpen = false;
  #isClosed = false;
  /** Counts dials, so that a retry that was overtaken does nothing. */
  #dial = 0;

  constructor(world: World, relay: SimRelay, client: RelayClient, events: LinkEvents) {
    this.name = `relay:${relay.name}:${relay.port}`;
    this.#world = world;
    this.#relay = relay;
    this.#client = client;
    this.#events = events;
    this.reconnect();
  }

  isUp(peer: PeerId): boolean {
    return this.#isOpen && !this.#absent.has(peer);
  }

  dial(): void {}

  send(peer: PeerId, train: Train): boolean {
    return this.#isOpen && this.#relay.send(this.#client.peer, peer, train);
  }

  reconnect(): void {
    if (this.#isClosed) return;
    if (this.#isOpen) this.#changed(null, false, "connecting anew");
    const dial = ++this.#dial;
    this.#relay.connect(this.#client, {
      received: (peer, train) => {
        if (dial === this.#dial) this.#events.received(peer, train);
      },
      changed: (peer, isUp, why) => {
        if (dial !== this.#dial) return;
        this.#changed(peer, isUp, why);
        if (peer === null && !isUp) this.#retry(dial);
      },
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#isOpen = false;
    this.#dial++;
    this.#relay.disconnect(this.#client.peer);
    return Promise.resolve();
  }

  #changed(peer: PeerId | null, isUp: boolean, why: string): void {
    if (peer === null) {
      this.#isOpen = isUp;
      this.#absent.clear();
    } else if (isUp) this.#absent.delete(peer);
    else this.#absent.add(peer);
    this.#events.changed(peer, isUp, why);
  }

  #retry(dial: number): void {
    this.#world.after(RECONNECT_MS, () => {
      if (dial === this.#dial) this.reconnect();
    });
  }
}
