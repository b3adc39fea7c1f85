/**
 * The coordinator's real model behind simulated connections: it can be killed, stay away, and come
 * back with what its journal held.
 * @module
 */
import type { NodeMessage } from "../../core/control/messages.ts";
import { RecordVerifier } from "../../core/control/roster.ts";
import type { ModelEvent } from "../../coordinator/model/apply.ts";
import { ControlHub } from "../../coordinator/model/control_hub.ts";
import { Registry } from "../../coordinator/model/registry.ts";
import { type Moment, Service } from "../../coordinator/model/service.ts";
import { decodeState, emptyState, encodeState, type State } from "../../coordinator/model/state.ts";
import { parseEndpoint } from "../../core/ip.ts";
import { NEVER } from "../../core/machine.ts";
import type { World } from "./world.ts";

/** The node's end of a control connection. */
export interface Link {
  readonly remote: string;
  open(): void;
  message(text: string): void;
  closed(reason: string): void;
}

/** Milliseconds that a control message takes. */
const LATENCY = 8;
const MESH_ID = "0123456789abcdef0123456789abcdef";

/** One coordinator. */
export class Coordinator {
  readonly #world: World;
  readonly #verifier: RecordVerifier;
  /** What is on disk. */
  #disk: string;
  #running: { hub: ControlHub; service: Service } | null = null;
  readonly #links = new Map<number, Link>();
  #next = 1;
  #timerFor = NEVER;
  /** When it last began to listen. */
  listensSince = 0;

  constructor(world: World, verifier: RecordVerifier, cidr4 = "172.30.0.0/16") {
    this.#world = world;
    this.#verifier = verifier;
    this.#disk = encodeState(emptyState(MESH_ID, cidr4));
    this.start();
  }

  get isRunning(): boolean {
    return this.#running !== null;
  }

  get state(): State {
    return decodeState(this.#disk);
  }

  /** The answers to requests; a killed coordinator has none. */
  get service(): Service | null {
    return this.#running?.service ?? null;
  }

  get moment(): Moment {
    return { now: this.#world.now, wallTime: this.#world.wallTime };
  }

  /** Starts a process over what is on disk. */
  start(): void {
    const registry = new Registry(decodeState(this.#disk), {
      append: (_command, state) => this.#disk = encodeState(state),
    });
    const { random } = this.#world;
    const service = new Service({ registry, random, version: "0", caPin: new Uint8Array(32) });
    const hub = new ControlHub({ registry, random, verifier: this.#verifier });
    this.#running = { hub, service };
    this.listensSince = this.#world.now;
    this.#world.note("coordinator listens");
  }

  /** `kill -9`: its connections break, what it had not written is gone. */
  kill(): void {
    this.#world.note("coordinator killed");
    this.#running = null;
    for (const link of this.#links.values()) this.#later(() => link.closed("connection reset"));
    this.#links.clear();
  }

  /** A node opens a connection; the number comes back through {@link Link.open}. */
  connect(link: Link): number {
    const connection = this.#next++;
    this.#later(() => {
      if (!this.#running) return this.#later(() => link.closed("connection refused"));
      this.#links.set(connection, link);
      this.#later(() => link.open());
      const { ip } = parseEndpoint(link.remote)!;
      this.#handle({ type: "connect", connection, remote: ip });
    });
    return connection;
  }

  /** A node sends on its connection. */
  receive(connection: number, message: NodeMessage): void {
    const text = JSON.stringify(message);
    this.#later(() => {
      if (this.#links.has(connection)) this.#handle({ type: "message", connection, text });
    });
  }

  /** A node closes its connection, or is gone. */
  disconnect(connection: number): void {
    this.#later(() => {
      if (this.#links.delete(connection)) this.#handle({ type: "close", connection });
    });
  }

  /** Tells the hub what a request changed. */
  publish(events: readonly ModelEvent[]): void {
    if (events.length > 0) this.#handle({ type: "changed", events });
  }

  #handle(event: Event): void {
    const running = this.#running;
    if (!running) return;
    const { now, wallTime } = this.moment;
    for (const effect of running.hub.handle({ ...event, wallTime } as never, now)) {
      const link = this.#links.get(effect.connection);
      if (!link) continue;
      if (effect.type === "send") {
        const text = JSON.stringify(effect.message);
        this.#later(() => link.message(text));
      } else {
        this.#links.delete(effect.connection);
        this.#later(() => link.closed("closed by the coordinator"));
      }
    }
    this.#arm(running.hub);
  }

  #arm(hub: ControlHub): void {
    const { deadline } = hub;
    if (deadline === NEVER || this.#timerFor <= deadline) return;
    this.#timerFor = deadline;
    this.#world.at(deadline, () => {
      this.#timerFor = NEVER;
      if (this.#running?.hub === hub) this.#handle({ type: "tick" });
    });
  }

  /** Streams keep their order: every message of every connection takes the same time. */
  #later(act: () => void): void {
    this.#world.after(LATENCY, act);
  }
}

type Event =
  | { type: "connect"; connection: number; remote: string }
  | { type: "message"; connection: number; text: string }
  | { type: "close"; connection: number }
  | { type: "changed"; events: readonly ModelEvent[] }
  | { type: "tick" };
