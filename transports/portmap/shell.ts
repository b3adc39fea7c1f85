/**
 * The port mapping's sockets: one for the router's port 5351 and for searches, and HTTP to the router.
 * @module
 */
import { formatEndpoint, type Ip, parseEndpoint } from "../../core/ip.ts";
import { type Millis, NEVER } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import type { PortMapEffect, PortMapEvent, PortMapState } from "./events.ts";
import { PortMapping } from "./machine.ts";

const HTTP_MS = 2_000;
const MAX_BODY = 262_144;
/** How long giving the port back may take. */
const RELEASE_MS = 500;

export interface PortMapperOptions {
  /** UDP port of the node. */
  readonly port: number;
  readonly random: Random;
  readonly clock: () => Millis;
  /** The router and the address of this machine that leads there, or null; asked at each change. */
  readonly route: () => { readonly gateway: Ip; readonly localIp: Ip } | null;
  readonly onChange: () => void;
}

/** Keeps a port of the router; close it to give the port back. */
export class PortMapper {
  readonly #options: PortMapperOptions;
  readonly #machine: PortMapping;
  readonly #socket: Deno.DatagramConn;
  readonly #receiving: Promise<void>;
  readonly #fetching = new Set<Promise<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(options: PortMapperOptions) {
    this.#options = options;
    this.#machine = new PortMapping(options);
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
    this.#receiving = this.#receive();
    // Its owner does not have it yet, and must when it hears of a change.
    queueMicrotask(() => this.networkChanged());
  }

  get report(): PortMapState {
    return this.#machine.report;
  }

  /** The machine may be behind another router: asks anew. */
  networkChanged(): void {
    if (this.#isClosed) return;
    const { port, route } = this.#options;
    const { gateway = null, localIp = "0.0.0.0" } = route() ?? {};
    this.#handle({ type: "start", gateway, localIp, port });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#handle({ type: "stop" });
    this.#isClosed = true;
    clearTimeout(this.#timer);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, RELEASE_MS));
    await Promise.race([Promise.all(this.#fetching), late]);
    clearTimeout(timer);
    this.#socket.close();
    await this.#receiving;
    await Promise.all(this.#fetching);
  }

  #handle(event: PortMapEvent): void {
    if (this.#isClosed) return;
    const { clock, onChange } = this.#options;
    for (const effect of this.#machine.handle(event, clock())) {
      if (effect.type === "changed") onChange();
      else this.#perform(effect);
    }
    clearTimeout(this.#timer);
    const { deadline } = this.#machine;
    if (deadline === NEVER) return;
    const delay = Math.min(Math.max(0, Math.ceil(deadline - clock())), 2 ** 31 - 1);
    this.#timer = setTimeout(() => this.#handle({ type: "tick" }), delay);
  }

  #perform(effect: Exclude<PortMapEffect, { type: "changed" }>): void {
    if (effect.type === "http") return this.#track(this.#fetch(effect));
    const { ip: hostname, port } = parseEndpoint(effect.to)!;
    const bytes = new Uint8Array(effect.bytes);
    // What is lost is sent again; what cannot be sent is no router.
    this.#track(
      this.#socket.send(bytes, { transport: "udp", hostname, port }).then(() => {}, () => {}),
    );
  }

  async #fetch({ id, url, call }: PortMapEffect & { type: "http" }): Promise<void> {
    try {
      const response = await fetch(url, {
        method: call ? "POST" : "GET",
        redirect: "error",
        signal: AbortSignal.timeout(HTTP_MS),
        ...(call ? { headers: call.headers, body: call.body } : {}),
      });
      const body = await boundedText(response);
      this.#handle({ type: "http", id, status: response.status, body });
    } catch {
      this.#handle({ type: "http", id, status: 0, body: null });
    }
  }

  async #receive(): Promise<void> {
    for (;;) {
      try {
        const [bytes, from] = await this.#socket.receive();
        const { hostname, port } = from as Deno.NetAddr;
        this.#handle({ type: "datagram", from: formatEndpoint(hostname, port), bytes });
      } catch {
        // An earlier datagram was refused; closing ends it.
        if (this.#isClosed) return;
      }
    }
  }

  #track(promise: Promise<void>): void {
    this.#fetching.add(promise);
    promise.finally(() => this.#fetching.delete(promise));
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
