/**
 * Keeps the netmap and what was seen of its nodes on the disk, a burst of changes as one write.
 * @module
 */
import type { NetmapView } from "../control/netmap.ts";
import { errorMessage } from "../errors.ts";
import type { Log } from "./log.ts";
import type { StateDir } from "./state_dir.ts";

/** Changes are written this long after the first. */
const SAVE_DELAY_MS = 250;

/** See the module's doc. */
export class NetmapKeeper {
  readonly #state: StateDir;
  readonly #view: NetmapView;
  readonly #log: Log;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(state: StateDir, view: NetmapView, log: Log) {
    this.#state = state;
    this.#view = view;
    this.#log = log;
  }

  /** Netmap or pins are others. */
  changed(): void {
    this.#timer ??= setTimeout(() => this.#save(), SAVE_DELAY_MS);
  }

  /** What changed last is on the disk when the promise resolves. */
  async close(): Promise<void> {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    await this.#save();
  }

  async #save(): Promise<void> {
    this.#timer = undefined;
    try {
      await this.#state.writeJson("seen.json", this.#view.pins);
      await this.#state.writeJson("netmap.json", this.#view.snapshot);
    } catch (error) {
      this.#log("error", "Cannot keep the netmap", { why: errorMessage(error) });
    }
  }
}
