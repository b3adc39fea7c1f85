/**
 * How does a query for a name outside the mesh get its answer?
 *
 * Upstream resolvers are asked one after the other, the one that answered last first. Each question
 * goes out from a fresh port under a fresh random id, and only a reply from the server asked, with
 * that id and that question, counts (RFC 5452). The answer goes back as it came.
 *
 * Identical questions share one exchange. The table of exchanges is bounded, and so is the number
 * of them for one name: a resolver that sends our questions back to us finds the end there.
 * @module
 */
import { answerLimit, type Carrier, type Query, readUint16 } from "../dns/message.ts";
import { isFailure, isTruncated, truncate, withId } from "../dns/reply.ts";
import { canonicalIp, type Endpoint, formatEndpoint, type Ip, parseEndpoint } from "../ip.ts";
import {
  type DnsUpstream,
  exchangeTcp,
  exchangeUdp,
  randomId,
  type SocketGuard,
} from "./dns_exchange.ts";
import { closeQuietly } from "./dns_stream.ts";

/** Questions under way at once; one more fails at once, and the client asks elsewhere or again. */
export const MAX_EXCHANGES = 512;
/** Clients that wait for one exchange. */
const MAX_WAITING = 1024;
/** Questions for one name and type that differ in flags, options or letters, under way at once. */
const MAX_VARIANTS = 16;
/** Times each upstream is asked. */
const ROUNDS = 2;
/** After this long no further upstream is asked: the client has given up (resolv.conf(5): 5 s). */
const PATIENCE_MS = 8_000;
/** An upstream that let a question time out is asked last for so long. */
const DISTRUST_MS = 30_000;

/** What a {@link DnsForwarder} needs. */
export interface DnsForwarderOptions {
  /** Addresses (port 53) or endpoints, best first; asked at each query. */
  readonly upstreams: () => readonly (Ip | Endpoint)[];
  /** Whether an endpoint is this resolver itself. */
  readonly isSelf: (endpoint: Endpoint) => boolean;
  readonly timeoutMs: number;
}

interface Exchange {
  readonly reply: Promise<Uint8Array | null>;
  waiting: number;
}

/** Asks upstream resolvers; see the module's comment. */
export class DnsForwarder {
  readonly #options: DnsForwarderOptions;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #variants = new Map<string, number>();
  /** When each upstream last let a question time out, on the monotonic clock. */
  readonly #timeouts = new Map<Endpoint, number>();
  readonly #open = new Set<{ close(): void }>();
  #isClosed = false;

  constructor(options: DnsForwarderOptions) {
    this.#options = options;
  }

  /** The answer for this client, under its id; null when no upstream gave one. */
  async forward(query: Query, carrier: Carrier): Promise<Uint8Array | null> {
    const reply = await this.#join(query, carrier);
    if (reply === null) return null;
    const mine = withId(reply, readUint16(query.message, 0));
    return mine.length <= answerLimit(query, carrier) ? mine : truncate(query, mine);
  }

  /** Ends all exchanges; those who wait get null. */
  close(): void {
    this.#isClosed = true;
    for (const socket of [...this.#open]) socket.close();
    this.#open.clear();
  }

  /** Joins the exchange of an identical question, or begins one. */
  async #join(query: Query, carrier: Carrier): Promise<Uint8Array | null> {
    const key = carrier + query.message.subarray(2).toBase64();
    let exchange = this.#exchanges.get(key);
    if (exchange === undefined) {
      const name = `${query.name.labels.join(".")} ${query.type} ${query.class}`;
      const variants = this.#variants.get(name) ?? 0;
      if (this.#exchanges.size >= MAX_EXCHANGES || variants >= MAX_VARIANTS) return null;
      this.#variants.set(name, variants + 1);
      const reply = this.#askAll(query, carrier).finally(() => {
        this.#exchanges.delete(key);
        const left = this.#variants.get(name)! - 1;
        if (left > 0) this.#variants.set(name, left);
        else this.#variants.delete(name);
      });
      exchange = { reply, waiting: 0 };
      this.#exchanges.set(key, exchange);
    }
    if (exchange.waiting >= MAX_WAITING) return null;
    exchange.waiting++;
    return await exchange.reply;
  }

  async #askAll(query: Query, carrier: Carrier): Promise<Uint8Array | null> {
    const start = performance.now();
    const servers = this.#servers();
    let failure: Uint8Array | null = null;
    for (let i = 0; i < servers.length * ROUNDS; i++) {
      if (this.#isClosed || performance.now() - start > PATIENCE_MS) break;
      const server = servers[i % servers.length]!;
      const reply = await this.#ask(server, query, carrier);
      if (reply !== null && !isFailure(reply)) return reply;
      failure = reply ?? failure;
      // Every server has spoken, none better: asking again changes nothing.
      if (failure !== null && i >= servers.length - 1) break;
    }
    return failure;
  }

  /** Upstreams in the order to ask them, without ourselves. */
  #servers(): DnsUpstream[] {
    const parsed = this.#options.upstreams().flatMap((upstream) => {
      const ip = canonicalIp(upstream);
      const server = ip === null ? parseEndpoint(upstream) : { ip, port: 53 };
      return server === null || this.#options.isSelf(endpointOf(server)) ? [] : [server];
    });
    const now = performance.now();
    const isTrusted = (server: DnsUpstream) =>
      now - (this.#timeouts.get(endpointOf(server)) ?? -Infinity) > DISTRUST_MS;
    return [...parsed.filter(isTrusted), ...parsed.filter((server) => !isTrusted(server))];
  }

  async #ask(server: DnsUpstream, query: Query, carrier: Carrier): Promise<Uint8Array | null> {
    const guard: SocketGuard = (socket) => this.#closeAfter(socket);
    const { message, questionEnd } = query;
    const ask = { message: withId(message, randomId()), questionEnd };
    const reply = await exchangeUdp(server, ask, guard);
    if (reply === null) {
      if (!this.#isClosed) this.#timeouts.set(endpointOf(server), performance.now());
      return null;
    }
    this.#timeouts.delete(endpointOf(server));
    // A UDP client learns of TC and comes back over TCP, where the whole answer is fetched.
    if (carrier === "udp" || !isTruncated(reply)) return reply;
    const again = { message: withId(message, randomId()), questionEnd };
    return await exchangeTcp(server, again, guard) ?? reply;
  }

  /**
   * Closes a socket after the timeout, at {@link close}, or when the returned function is called.
   */
  #closeAfter(socket: { close(): void }): () => void {
    const end = () => {
      clearTimeout(timer);
      this.#open.delete(handle);
      closeQuietly(socket);
    };
    const handle = { close: end };
    const timer = setTimeout(end, this.#options.timeoutMs);
    this.#open.add(handle);
    if (this.#isClosed) end();
    return end;
  }
}

function endpointOf(server: DnsUpstream): Endpoint {
  return formatEndpoint(server.ip, server.port);
}
