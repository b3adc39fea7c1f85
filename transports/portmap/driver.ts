/**
 * Runs a machine that talks to a router: its deadline as a timer, its HTTP requests, and the wait for
 * what is under way at the end.
 * @module
 */
import { type Machine, type Millis, NEVER } from "../../core/machine.ts";
import type { PortMapTransmit, RouterEffect, RouterEvent } from "./events.ts";

const HTTP_MS = 2_000;
const MAX_BODY = 262_144;
/** How long giving the port back may take. */
const RELEASE_MS = 500;
/** The longest that a timer can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface DriverOptions<Start, Transmit> {
  readonly machine: Machine<RouterEvent | Start, RouterEffect | Transmit>;
  readonly clock: () => Millis;
  readonly onChange: () => void;
  readonly transmit: (effect: Transmit) => Promise<unknown>;
  /** For requests; the runtime's own where it is absent. */
  readonly client?: () => Deno.HttpClient | null;
}

/** See the module's doc. */
export class Driver<Start, Transmit extends PortMapTransmit> {
  readonly #options: DriverOptions<Start, Transmit>;
  readonly #underWay = new Set<Promise<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(options: DriverOptions<Start, Transmit>) {
    this.#options = options;
  }

  handle(event: RouterEvent | Start): void {
    if (this.#isClosed) return;
    const { machine, clock } = this.#options;
    for (const effect of machine.handle(event, clock())) this.#perform(effect);
    clearTimeout(this.#timer);
    const { deadline } = machine;
    if (deadline === NEVER) return;
    const delay = Math.min(Math.max(0, Math.ceil(deadline - clock())), MAX_TIMER_MS);
    this.#timer = setTimeout(() => this.handle({ type: "tick" }), delay);
  }

  /** Gives the port back; `closeSockets` is called when that was sent, or took too long. */
  async close(closeSockets: () => void): Promise<void> {
    this.handle({ type: "stop" });
    this.#isClosed = true;
    clearTimeout(this.#timer);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, RELEASE_MS));
    await Promise.race([Promise.all(this.#underWay), late]);
    clearTimeout(timer);
    closeSockets();
    await Promise.all(this.#underWay);
  }

  #perform(effect: RouterEffect | Transmit): void {
    switch (effect.type) {
      case "changed":
        return this.#options.onChange();
      case "http":
        return this.#track(this.#fetch(effect));
      case "transmit":
        // What is lost is sent again; what cannot be sent is no router.
        return this.#track(this.#options.transmit(effect).then(() => {}, () => {}));
    }
  }

  async #fetch({ id, url, call }: RouterEffect & { type: "http" }): Promise<void> {
    const client = this.#options.client?.() ?? null;
    try {
      const response = await fetch(url, {
        method: call ? "POST" : "GET",
        redirect: "error",
        signal: AbortSignal.timeout(HTTP_MS),
        ...(call ? { headers: call.headers, body: call.body } : {}),
        ...(client ? { client } : {}),
      });
      const body = await boundedText(response);
      this.handle({ type: "http", id, status: response.status, body });
    } catch {
      this.handle({ type: "http", id, status: 0, body: null });
    }
  }

  #track(promise: Promise<void>): void {
    this.#underWay.add(promise);
    promise.finally(() => this.#underWay.delete(promise));
  }
}

async function boundedText(response: Response): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_BODY) return null;
    chunks.push(chunk);
  }
  return await new Blob(chunks as Uint8Array<ArrayBuffer>[]).text();
}
