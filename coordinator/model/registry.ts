/**
 * Who holds the present state, and when is a change acknowledged? Only after it is on disk.
 * @module
 */
import { apply, type ModelEvent } from "./apply.ts";
import type { Command, State } from "./state.ts";

/** Where commands are kept. The simulator has none, a coordinator has a file. */
export interface Journal {
  /** Keeps one command; durable when it returns. `state` is what it leads to. */
  append(command: Command, state: State): void;
}

/** The present state and the one way to change it. */
export class Registry {
  #state: State;
  readonly #journal: Journal | null;

  constructor(state: State, journal: Journal | null = null) {
    this.#state = state;
    this.#journal = journal;
  }

  get state(): State {
    return this.#state;
  }

  /**
   * Applies a command, keeps it, and only then makes it visible. A command that changes nothing is
   * not kept.
   * @throws {MeshError} when the command is refused; nothing has changed then.
   */
  execute(command: Command): readonly ModelEvent[] {
    const { state, events } = apply(this.#state, command);
    if (state === this.#state) return events;
    this.#journal?.append(command, state);
    this.#state = state;
    return events;
  }
}
