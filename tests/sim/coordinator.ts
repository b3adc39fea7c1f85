/**
 * The coordinator's real model behind simulated connections: it can be killed, stay away, and come
 * back with what its journal held.
 * @module
 */
import type { NodeMessage, ServerMessage } from "../../core/control/messages.ts";
import type { RecordVerifier } from "../../core/control/roster.ts";
import type { ModelEvent } from "../../coordinator/model/apply.ts";
import { ControlHub, type HubEffect } from "../../coordinator/model/control_hub.ts";
import { dismissRevoked } from "../../coordinator/model/log_desk.ts";
import { Mesh } from "../../coordinator/model/mesh.ts";
import { Registry } from "../../coordinator/model/registry.ts";
import { type Moment, Service } from "../../coordinator/model/service.ts";
import { decodeState, emptyState, encodeState, type State } from "../../coordinator/model/state.ts";
import { MeshError } from "../../core/errors.ts";
import { type Identity, identityFromSeed } from "../../core/identity/keys.ts";
import { parseEndpoint } from "../../core/ip.ts";
import { NEVER } from "../../core/machine.ts";
import { SeededRandom } from "../../core/random.ts";
import { beginMesh } from "../../core/state/bootstrap.ts";
import type { SignedEntry } from "../../core/state/entry.ts";
import type { SyncAlert } from "../../core/state/sync.ts";
import { LogDisk } from "./log_disk.ts";
import type { World } from "./world.ts";

/** The node's end of a control connection. */
export interface Link {
  readonly remote: string;
  open(): void;
  message(text: string): void;
  closed(reason: string): void;
}

/** What survives `kill -9`. */
export interface CoordinatorDisk {
  readonly state: string;
  readonly log: LogDisk;
}

/** When a coordinator dies as it keeps entries: before, within and after its write. */
export type CrashPoint = "before" | "torn" | "after";

/** What can be said of a coordinator when it is made. */
export interface CoordinatorOptions {
  readonly cidr4?: string;
  /** What it goes on from; a new mesh when absent. */
  readonly disk?: CoordinatorDisk;
}

/** Milliseconds that a control message takes. */
export const LATENCY = 8;
/** Bytes of the newest entry that a torn write loses. */
const TORN_BYTES = 40;
/** Of every coordinator: one that lies has the key of the true one. */
export const COORDINATOR: Identity = identityFromSeed(new SeededRandom(999).bytes(32));
const NONCE = "0123456789abcdef0123456789abcdef";

/** Ends whatever a coordinator was doing when it died. */
class Crash extends Error {}

/** One coordinator. */
export class Coordinator {
  readonly #world: World;
  readonly #verifier: RecordVerifier;
  #disk: CoordinatorDisk;
  #running: { hub: ControlHub; service: Service; mesh: Mesh } | null = null;
  readonly #links = new Map<number, Link>();
  #next = 1;
  #timerFor = NEVER;
  /** When it last began to listen. */
  listensSince = 0;
  /** It dies the next time that it keeps entries. */
  crashes: CrashPoint | null = null;
  /** What a lying coordinator says in place of the truth; null for nothing. */
  lie: (message: ServerMessage) => ServerMessage | null = (message) => message;
  /** Whether it listens to a message. */
  hears: (message: NodeMessage) => boolean = () => true;
  /** What it reported of its log. */
  readonly alerts: SyncAlert[] = [];

  constructor(world: World, verifier: RecordVerifier, options: CoordinatorOptions = {}) {
    this.#world = world;
    this.#verifier = verifier;
    this.#disk = options.disk ?? emptyDisk(world, options.cidr4 ?? "172.30.0.0/16");
    this.start();
  }

  get isRunning(): boolean {
    return this.#running !== null;
  }

  get state(): State {
    return decodeState(this.#disk.state);
  }

  /** The mesh's log as a running coordinator has it. */
  get mesh(): Mesh {
    return this.#running!.mesh;
  }

  /** A backup of what is on disk. */
  get disk(): CoordinatorDisk {
    return { state: this.#disk.state, log: this.#disk.log.copy() };
  }

  /** Puts a backup back in place while no process runs. */
  restore({ state, log }: CoordinatorDisk): void {
    this.#disk = { state, log: log.copy() };
  }

  get moment(): Moment {
    return { now: this.#world.now, wallTime: this.#world.wallTime };
  }

  /**
   * Asks over HTTP.
   * @throws {MeshError} what it answers; "coordinator-unreachable" when it does not run, or dies.
   */
  ask<T>(request: (service: Service, moment: Moment) => T): T {
    const running = this.#running;
    if (!running) throw unreachable();
    try {
      return request(running.service, this.moment);
    } catch (error) {
      if (error instanceof Crash) throw unreachable();
      throw error;
    }
  }

  /** Starts a process over what is on disk. */
  start(): void {
    const { random } = this.#world;
    const { state, log: kept } = this.#disk;
    const registry = new Registry(decodeState(state), {
      append: (_command, state) => this.#disk = { ...this.#disk, state: encodeState(state) },
    });
    const mesh = new Mesh({
      log: kept.open(registry.state.meshId),
      identity: COORDINATOR,
      keep: (entries) => this.#keep(entries),
    });
    dismissRevoked(mesh, registry, this.#world.wallTime);
    const service = new Service({ registry, random, mesh, version: "0" });
    const hub = new ControlHub({ registry, mesh, random, verifier: this.#verifier });
    this.#running = { hub, service, mesh };
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
      if (!this.#links.has(connection) || !this.hears(message)) return;
      this.#handle({ type: "message", connection, text });
    });
  }

  /** A node closes its connection, or is gone. */
  disconnect(connection: number): void {
    this.#later(() => {
      if (this.#links.delete(connection)) this.#handle({ type: "close", connection });
    });
  }

  /** Tells the hub that a request was served, and what it changed in the model. */
  publish(events: readonly ModelEvent[]): void {
    this.#handle({ type: "changed", events });
  }

  #handle(event: Event): void {
    const running = this.#running;
    if (!running) return;
    const { now, wallTime } = this.moment;
    try {
      for (const effect of running.hub.handle({ ...event, wallTime } as never, now)) {
        this.#perform(effect);
      }
    } catch (error) {
      if (error instanceof Crash) return;
      throw error;
    }
    this.#arm(running.hub);
  }

  #perform(effect: HubEffect): void {
    if (effect.type === "alert") this.alerts.push(effect.alert);
    if (effect.type !== "send" && effect.type !== "close") return;
    const link = this.#links.get(effect.connection);
    if (!link) return;
    if (effect.type === "close") {
      this.#links.delete(effect.connection);
      return this.#later(() => link.closed("closed by the coordinator"));
    }
    const message = this.lie(effect.message);
    if (!message) return;
    const text = JSON.stringify(message);
    this.#later(() => link.message(text));
  }

  #keep(entries: readonly SignedEntry[]): void {
    const { crashes } = this;
    this.crashes = null;
    if (crashes !== "before") this.#disk.log.append(entries);
    if (crashes === "torn") this.#disk.log.tear(TORN_BYTES);
    if (crashes === null) return;
    this.kill();
    throw new Crash();
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

function emptyDisk(world: World, cidr4: string): CoordinatorDisk {
  const log = beginMesh(COORDINATOR, NONCE, world.wallTime);
  return { state: encodeState(emptyState(log.meshId, cidr4)), log: LogDisk.of(log) };
}

function unreachable(): MeshError {
  return new MeshError("coordinator-unreachable", "Cannot reach the coordinator");
}

type Event =
  | { type: "connect"; connection: number; remote: string }
  | { type: "message"; connection: number; text: string }
  | { type: "close"; connection: number }
  | { type: "changed"; events: readonly ModelEvent[] }
  | { type: "tick" };
