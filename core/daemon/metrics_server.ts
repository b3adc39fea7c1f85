/**
 * Serves `GET /metrics`, on loopback and on the node's mesh addresses.
 *
 * Nobody is asked who he is: on the mesh addresses the packet filter says who may connect, and no
 * rule of this node's own lets anybody.
 * @module
 */
import { errorMessage } from "../errors.ts";
import type { Ip } from "../ip.ts";
import type { Scrape } from "./metrics.ts";

/** Where metrics are served, and what. */
export interface MetricsOptions {
  readonly addresses: readonly Ip[];
  readonly port: number;
  readonly scrape: () => Promise<Scrape>;
}

const LOOPBACK = "127.0.0.1";

/** A running server of metrics. */
export class MetricsServer {
  readonly #servers: Deno.HttpServer[] = [];
  /** Addresses that could not be listened on, with the reason. */
  readonly problems: string[] = [];

  constructor({ addresses, port, scrape }: MetricsOptions) {
    for (const hostname of [LOOPBACK, ...addresses]) {
      try {
        const handler = (request: Request) => answer(request, scrape);
        this.#servers.push(Deno.serve({ hostname, port, onListen: () => {} }, handler));
      } catch (error) {
        this.problems.push(`Cannot serve metrics at ${hostname}:${port}: ${errorMessage(error)}`);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.shutdown()));
  }
}

async function answer(request: Request, scrape: () => Promise<Scrape>): Promise<Response> {
  if (new URL(request.url).pathname !== "/metrics") {
    return new Response("Metrics are at /metrics\n", { status: 404 });
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
  }
  const { text, contentType } = await scrape();
  const body = request.method === "HEAD" ? null : text;
  return new Response(body, { headers: { "content-type": contentType } });
}
