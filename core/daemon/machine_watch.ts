/**
 * Notices what changes around the daemon: addresses and routes of the machine, and that it slept.
 * @module
 */
import { errorMessage } from "../errors.ts";
import { readClocks } from "../platform/clocks.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import { watchNetwork } from "../platform/network_watch.ts";
import { SuspendDetector } from "../platform/suspend.ts";
import type { NetworkWatch } from "../platform/types_network.ts";
import type { Log } from "./log.ts";

/** How often a sleep of the machine is looked for. */
const SLEEP_CHECK_MS = 1_000;

export interface MachineWatchOptions {
  readonly readiness: Readiness;
  /** The tunnel's own. */
  readonly ignoreInterface: string;
  readonly log: Log;
}

/** Watches until it is closed. */
export class MachineWatch {
  readonly #network: NetworkWatch;
  readonly #timer: ReturnType<typeof setInterval>;

  /** @param changed Is told what happened, in a few words. */
  constructor(options: MachineWatchOptions, changed: (why: string) => void) {
    const { readiness, ignoreInterface, log } = options;
    this.#network = watchNetwork(readiness, {
      ignoreInterface,
      onChange: ([first]) => {
        if (!first) return;
        changed(`${first.kind} ${first.action} ${first.interface ?? ""} ${first.detail}`);
      },
      onFailure: (error) => {
        log("error", "Changes of the network are no longer noticed", { why: errorMessage(error) });
      },
    });
    const sleep = new SuspendDetector();
    this.#timer = setInterval(() => {
      const ms = sleep.look(readClocks());
      if (ms > 0) changed(`the machine slept for ${Math.round(ms / 1000)} s`);
    }, SLEEP_CHECK_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#network.close();
  }
}
