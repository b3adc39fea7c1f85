/**
 * A simulated machine's connections to whoever it takes for the coordinator, as
 * `core/daemon/control_channel.ts` has them.
 * @module
 */
import type { ControlEffect, ControlEvent } from "../../core/control/client.ts";
import type { Endpoint } from "../../core/ip.ts";
import type { Coordinator } from "./coordinator.ts";

export interface HostControlOptions {
  readonly coordinator: () => Coordinator;
  /** Where the coordinator sees the machine connect from. */
  readonly remote: () => Endpoint;
  readonly wallTime: () => number;
  /** Whether the machine has no network: nothing comes or goes. */
  readonly isCut: () => boolean;
  readonly emit: (event: ControlEvent) => void;
}

/** What is open of one run of a machine. */
export class HostControl {
  readonly #options: HostControlOptions;
  readonly #connections = new Map<number, { coordinator: Coordinator; remote: number }>();
  #isClosed = false;

  constructor(options: HostControlOptions) {
    this.#options = options;
  }

  perform(effect: ControlEffect): void {
    if (effect.type === "connect") return this.#connect(effect.connection);
    if (effect.type !== "send" && effect.type !== "close") return;
    const open = this.#connections.get(effect.connection);
    if (effect.type === "close") this.#connections.delete(effect.connection);
    if (!open || this.#options.isCut()) return;
    if (effect.type === "send") open.coordinator.receive(open.remote, effect.message);
    else open.coordinator.disconnect(open.remote);
  }

  /** The process is gone. */
  close(): void {
    this.#isClosed = true;
    for (const { coordinator, remote } of this.#connections.values()) {
      coordinator.disconnect(remote);
    }
    this.#connections.clear();
  }

  #connect(connection: number): void {
    const { remote, wallTime, isCut } = this.#options;
    const coordinator = this.#options.coordinator();
    const emit = (event: ControlEvent) => {
      if (!this.#isClosed && !isCut()) this.#options.emit(event);
    };
    if (isCut()) return;
    const number = coordinator.connect({
      remote: remote(),
      open: () => emit({ type: "open", connection }),
      message: (text) => emit({ type: "message", connection, text, wallTime: wallTime() }),
      closed: (reason) => {
        this.#connections.delete(connection);
        emit({ type: "closed", connection, reason });
      },
    });
    this.#connections.set(connection, { coordinator, remote: number });
  }
}
