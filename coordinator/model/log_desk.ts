/**
 * What do connected nodes and the coordinator tell each other of the mesh's log, and what follows
 * for the nodes when it grows?
 *
 * Keeps what nodes bring on the disk and takes those out of the registry who are members no more.
 * Whom to tell of that, and whose connection ends, is the hub's affair.
 * @module
 */
import type { PeerId } from "../../core/ids.ts";
import type { Millis } from "../../core/machine.ts";
import { LogSync, type SyncEvent } from "../../core/state/sync.ts";
import type { ModelEvent } from "./apply.ts";
import type { HubEffect } from "./hub_types.ts";
import type { Mesh } from "./mesh.ts";
import type { Registry } from "./registry.ts";

/** What came of an event. */
export interface LogNews {
  readonly effects: readonly HubEffect[];
  /** Members that are none any more. */
  readonly left: readonly ModelEvent[];
  /** The same of those who are not registered, as somebody whom a follower has not adopted yet. */
  readonly gone: readonly PeerId[];
  readonly hasGrown: boolean;
}

/** See the module's doc. Sources are named by the numbers of their connections. */
export class LogDesk {
  readonly #mesh: Mesh;
  readonly #registry: Registry;
  readonly #sync: LogSync;
  #wallTime = 0;
  /** How far the registry has followed the log. */
  #followed: number;
  #members: ReadonlySet<PeerId>;

  constructor(mesh: Mesh, registry: Registry) {
    this.#mesh = mesh;
    this.#registry = registry;
    this.#sync = new LogSync({
      log: mesh.log,
      sign: mesh.headSigner(() => this.#wallTime),
    });
    this.#followed = mesh.log.head.seq;
    this.#members = new Set(mesh.state.nodes.keys());
  }

  get deadline(): Millis {
    return this.#sync.deadline;
  }

  /** Whether entries came that no event has told of, as a request brings them. */
  get isBehind(): boolean {
    return this.#mesh.log.head.seq > this.#followed;
  }

  /** @throws {MeshError} "system" when what came cannot be kept. */
  handle(event: SyncEvent, { now, wallTime }: { now: Millis; wallTime: number }): LogNews {
    this.#wallTime = wallTime;
    const effects: HubEffect[] = [];
    for (const effect of this.#sync.handle(event, now)) {
      switch (effect.type) {
        case "send": {
          const message = { type: "log", text: JSON.stringify(effect.message) } as const;
          effects.push({ type: "send", connection: Number(effect.to), message });
          break;
        }
        case "grown":
          this.#mesh.keep(effect.entries.map(({ signed }) => signed));
          break;
        case "alert":
          effects.push(effect);
          break;
      }
    }
    const hasGrown = this.isBehind;
    return { effects, ...hasGrown ? this.#follow() : { left: [], gone: [] }, hasGrown };
  }

  #follow(): Pick<LogNews, "left" | "gone"> {
    const left = dismissRevoked(this.#mesh, this.#registry, this.#wallTime);
    const before = this.#members;
    this.#members = new Set(this.#mesh.state.nodes.keys());
    this.#followed = this.#mesh.log.head.seq;
    const gone = before.difference(this.#members).difference(new Set(left.map(({ id }) => id)));
    return { left, gone: [...gone] };
  }
}

/**
 * Takes everyone out of the registry whom the mesh's log has revoked. Whom it does not know keeps
 * name and addresses: a log that lost its end gets it back from the nodes.
 */
export function dismissRevoked(mesh: Mesh, registry: Registry, at: number): ModelEvent[] {
  const { revoked } = mesh.state;
  const gone = [...registry.state.nodes.keys()].filter((id) => revoked.has(id));
  return gone.flatMap((id) => registry.execute({ type: "remove", at, id }));
}
