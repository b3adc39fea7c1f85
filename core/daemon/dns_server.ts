/**
 * Who answers on port 53 of the mesh address?
 *
 * UDP and TCP on each address. Names of the mesh come from the {@link Zone}; every other query goes
 * to the resolvers that the system had before, and their answer comes back as it is. A query that
 * waits upstream is asked once for all who ask the same; a question that comes back while it waits
 * is a loop and ends there.
 *
 * Other machines of the mesh may ask for mesh names only, since this node's upstream resolvers may
 * know names that are not for them; but for those who reach the internet through this node.
 * @module
 */
import { errorMessage, MeshError } from "../errors.ts";
import { type Endpoint, formatEndpoint, type Ip } from "../ip.ts";
import { type Carrier, encodeError, HEADER_BYTES, type Query, RCODE } from "../dns/message.ts";
import { encodeFailure, frame } from "../dns/reply.ts";
import type { Zone } from "../dns/zone.ts";
import type { ContextNames } from "./dns_contexts.ts";
import { DnsForwarder } from "./dns_forwarder.ts";
import { closeQuietly, readFrame, writeAll } from "./dns_stream.ts";

/** The port of DNS. */
const DNS_PORT = 53;
/** TCP connections served at once; further ones are closed at once. */
const MAX_CONNECTIONS = 64;
/** A TCP client that is silent for so long is let go (RFC 7766 section 6.2.3). */
const IDLE_MS = 10_000;
/** Queries of one TCP connection answered at once; the next is read when one is done. */
const MAX_PIPELINED = 16;

/** What {@link startDnsServer} needs. */
export interface DnsServerOptions {
  readonly zone: Zone;
  /** Addresses to listen on; the node's own, which must exist. */
  readonly addresses: readonly Ip[];
  /** Default 53; 0 lets the system choose one for all. */
  readonly port?: number;
  /** The node's mesh addresses; those in `addresses` when not given. */
  readonly ownAddresses?: readonly Ip[];
  /** Asked at each query: addresses (port 53) or endpoints, best first. */
  readonly upstreams: () => readonly (Ip | Endpoint)[];
  /** Whether another machine of the mesh may ask for any name; without, none may. */
  readonly resolvesFor?: (client: Ip) => boolean;
  /** How long to wait for one upstream before the next is asked; default 2000. */
  readonly upstreamTimeoutMs?: number;
  /** Other contexts of this machine; without, this one is alone. */
  readonly contexts?: ContextNames;
  readonly log: (message: string) => void;
}

/** Counts since the start. */
export interface DnsServerCounts {
  answered: number;
  forwarded: number;
  refused: number;
  failed: number;
  dropped: number;
}

/** A running resolver. */
export interface DnsServer {
  /** Endpoints that answer; at least one. */
  readonly listening: readonly Endpoint[];
  /** Addresses that could not be used, each with the reason. */
  readonly failures: readonly { readonly address: Ip; readonly reason: string }[];
  readonly counts: Readonly<DnsServerCounts>;
  /** Ends all it does; nothing is pending when it resolves. */
  close(): Promise<void>;
}

/**
 * Starts the resolver on every address that can be had.
 * @throws {MeshError} `system` when none can.
 */
export function startDnsServer(options: DnsServerOptions): DnsServer {
  const server = new Server(options);
  server.listen();
  return server;
}

class Server implements DnsServer {
  readonly listening: Endpoint[] = [];
  readonly failures: { address: Ip; reason: string }[] = [];
  readonly counts: DnsServerCounts = {
    answered: 0,
    forwarded: 0,
    refused: 0,
    failed: 0,
    dropped: 0,
  };
  readonly #options: DnsServerOptions;
  readonly #forwarder: DnsForwarder;
  readonly #sockets: Deno.DatagramConn[] = [];
  readonly #listeners: Deno.TcpListener[] = [];
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #tasks = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#forwarder = new DnsForwarder({
      upstreams: options.upstreams,
      isSelf: (endpoint) => this.listening.includes(endpoint),
      timeoutMs: options.upstreamTimeoutMs ?? 2_000,
    });
  }

  listen(): void {
    let port = this.#options.port ?? DNS_PORT;
    for (const hostname of this.#options.addresses) {
      try {
        const { udp, tcp } = bindBoth(hostname, port);
        port = tcp.addr.port;
        this.#sockets.push(udp);
        this.#listeners.push(tcp);
        this.listening.push(formatEndpoint(hostname, port));
      } catch (error) {
        this.failures.push({ address: hostname, reason: errorMessage(error) });
        this.#options.log(`Cannot answer names on ${hostname}: ${errorMessage(error)}`);
      }
    }
    if (this.listening.length === 0) {
      const reasons = this.failures.map((f) => `${f.address}: ${f.reason}`).join("; ");
      throw new MeshError("system", `Cannot listen for DNS queries: ${reasons || "no address"}`, {
        hint: `See which program holds port ${port} with: ss -lunp sport = :${port}`,
      });
    }
    for (const socket of this.#sockets) this.#track(this.#serveUdp(socket));
    for (const listener of this.#listeners) this.#track(this.#serveTcp(listener));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const closable of [...this.#sockets, ...this.#listeners, ...this.#connections]) {
      closeQuietly(closable);
    }
    this.#forwarder.close();
    while (this.#tasks.size > 0) await Promise.allSettled(this.#tasks);
  }

  async #serveUdp(socket: Deno.DatagramConn): Promise<void> {
    while (!this.#isClosed) {
      try {
        const [message, from] = await socket.receive();
        this.#track(this.#answerDatagram(socket, message, from as Deno.NetAddr));
      } catch (error) {
        if (this.#isClosed) return;
        this.#options.log(`Cannot receive a DNS query: ${errorMessage(error)}`);
        await this.#pause();
      }
    }
  }

  async #answerDatagram(
    socket: Deno.DatagramConn,
    message: Uint8Array,
    from: Deno.NetAddr,
  ): Promise<void> {
    const response = await this.#respond(message, from.hostname, "udp");
    if (response === null || this.#isClosed) return;
    // The client may be gone or its route down; it asks again when it is not.
    await socket.send(response, from).catch(() => this.counts.dropped++);
  }

  async #serveTcp(listener: Deno.TcpListener): Promise<void> {
    while (!this.#isClosed) {
      try {
        const connection = await listener.accept();
        if (this.#connections.size >= MAX_CONNECTIONS) closeQuietly(connection);
        else this.#track(this.#serveConnection(connection));
      } catch (error) {
        if (this.#isClosed) return;
        this.#options.log(`Cannot accept a DNS connection: ${errorMessage(error)}`);
        await this.#pause();
      }
    }
  }

  async #serveConnection(connection: Deno.TcpConn): Promise<void> {
    this.#connections.add(connection);
    const from = connection.remoteAddr.hostname;
    const running = new Set<Promise<void>>();
    let writing = Promise.resolve();
    const answer = async (message: Uint8Array) => {
      const response = await this.#respond(message, from, "tcp");
      if (response === null) return;
      writing = writing.then(() => writeAll(connection, frame(response)));
      await writing;
    };
    try {
      for (;;) {
        const idle = setTimeout(() => closeQuietly(connection), IDLE_MS);
        const message = await readFrame(connection).finally(() => clearTimeout(idle));
        if (message === null) break;
        const task: Promise<void> = answer(message).catch(() => closeQuietly(connection))
          .finally(() => running.delete(task));
        running.add(task);
        if (running.size >= MAX_PIPELINED) await Promise.race(running);
      }
      await Promise.all(running);
    } catch {
      // The client closed or reset the connection: nobody is left to be told.
    } finally {
      closeQuietly(connection);
      await Promise.allSettled(running);
      this.#connections.delete(connection);
    }
  }

  async #respond(message: Uint8Array, from: Ip, carrier: Carrier): Promise<Uint8Array | null> {
    const { zone, contexts } = this.#options;
    const client = clientOf(from);
    if (contexts?.isStranger(client) && message.length >= HEADER_BYTES) {
      this.counts.refused++;
      return encodeError(message, RCODE.refused);
    }
    const joint = this.#isMember(client) ? null : await contexts?.answer(message, carrier) ?? null;
    if (joint !== null) {
      this.counts.answered++;
      return joint;
    }
    const reply = zone.answer(message, carrier);
    switch (reply.kind) {
      case "drop":
        this.counts.dropped++;
        return null;
      case "answer":
        this.counts.answered++;
        return reply.response;
      case "forward":
        return await this.#forward(reply.query, client, carrier);
    }
  }

  /** Whether a client is another machine of the mesh. */
  #isMember(client: Ip): boolean {
    const { zone, addresses, ownAddresses = addresses } = this.#options;
    return zone.isMeshAddress(client) && !ownAddresses.includes(client);
  }

  async #forward(query: Query, client: Ip, carrier: Carrier): Promise<Uint8Array> {
    if (this.#isMember(client) && this.#options.resolvesFor?.(client) !== true) {
      this.counts.refused++;
      return encodeFailure(query, RCODE.refused);
    }
    const response = await this.#forwarder.forward(query, carrier);
    if (response === null) this.counts.failed++;
    else this.counts.forwarded++;
    return response ?? encodeFailure(query, RCODE.servFail);
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task);
    task.finally(() => this.#tasks.delete(task));
  }

  /** Keeps a socket that fails again and again from taking the processor. */
  #pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A client's address. A socket on `::` sees IPv4 clients as mapped addresses. */
function clientOf(from: string): Ip {
  return from.replace(/^::ffff:(?=\d+\.)/, "");
}

/** A port that the system chose for UDP may be in use for TCP; then it chooses again, so often. */
const MAX_CHOICES = 20;

/** Binds one port for UDP and TCP; 0 lets the system choose it. */
function bindBoth(
  hostname: Ip,
  port: number,
): { udp: Deno.DatagramConn; tcp: Deno.TcpListener } {
  for (let choice = 1;; choice++) {
    const udp = Deno.listenDatagram({ transport: "udp", hostname, port });
    try {
      const { port: bound } = udp.addr as Deno.NetAddr;
      return { udp, tcp: Deno.listen({ transport: "tcp", hostname, port: bound }) };
    } catch (error) {
      udp.close();
      const isTaken = error instanceof Deno.errors.AddrInUse;
      if (!isTaken || port !== 0 || choice === MAX_CHOICES) throw error;
    }
  }
}
