/**
 * A relay on loopback with real TLS, without the rest of a coordinator: the fixture of its tests.
 * @module
 */
import type { Duplex } from "node:stream";
import { type HttpsServer, openHttpsServer } from "../coordinator/https_server.ts";
import { RelaySockets } from "../coordinator/relay_sockets.ts";
import { MeshCa, type PemPair } from "../coordinator/tls.ts";
import { PATHS } from "../core/control/envelope.ts";
import { toBase64Url } from "../core/bytes.ts";
import { tlsOptions } from "../core/daemon/tls_pin.ts";
import { systemRandom } from "../core/daemon/system_random.ts";
import type { Identity } from "../core/identity/keys.ts";
import type { LinkEvents } from "../core/link.ts";
import { RelayLink, type RelayLinkOptions } from "../transports/relay/client.ts";
import { RelayHub } from "../transports/relay/hub.ts";

/** A relay that can be killed and started again on its port. */
export class RelayServer implements AsyncDisposable {
  readonly #members: ReadonlyMap<string, string>;
  readonly #pem: PemPair;
  readonly ca: string;
  hub!: RelayHub;
  sockets!: RelaySockets;
  #server!: HttpsServer;
  readonly #raw = new Set<Duplex>();
  #port = 0;

  private constructor(members: readonly Identity[], ca: string, pem: PemPair) {
    const entries = members.map((one) => [one.peerId, toBase64Url(one.publicKey)] as const);
    this.#members = new Map(entries);
    this.ca = ca;
    this.#pem = pem;
  }

  /** Listens when the promise resolves; only `members` are let in. */
  static async start(members: readonly Identity[]): Promise<RelayServer> {
    const dir = await Deno.makeTempDir();
    const mesh = { meshId: "00".repeat(16), cidr4: "172.30.0.0/16", prefix6: "fd00::/64" };
    const now = Date.now();
    const ca = await MeshCa.open(dir, mesh, { now, isEmpty: true });
    const server = new RelayServer(members, ca.certificate, await ca.server(["127.0.0.1"], now));
    await Deno.remove(dir, { recursive: true });
    await server.listen();
    return server;
  }

  get url(): string {
    return `wss://127.0.0.1:${this.#port}`;
  }

  async listen(): Promise<void> {
    const identityOf = (peer: string) => this.#members.get(peer) ?? null;
    this.hub = new RelayHub({ identityOf, random: systemRandom });
    this.sockets = new RelaySockets(this.hub, { clock: () => performance.now() });
    this.#server = await openHttpsServer({
      listen: { hostname: "127.0.0.1", port: this.#port },
      certificate: () => Promise.resolve(this.#pem),
      handle: (_request, response) => response.writeHead(404).end(),
      log: () => {},
    });
    this.#port = this.#server.port;
    this.#server.server.on("upgrade", (request, socket, head) => {
      this.#raw.add(socket);
      socket.once("close", () => this.#raw.delete(socket));
      if (request.url === PATHS.relay) this.sockets.accept(request, socket, head);
      else socket.destroy();
    });
  }

  /** Cuts every TCP connection without a word, as a process that dies does. */
  cut(): void {
    for (const socket of this.#raw) socket.destroy();
  }

  async stop(): Promise<void> {
    await this.sockets.close();
    await this.#server.close();
  }

  /** A link to this relay. */
  link(
    identity: Identity,
    events: LinkEvents,
    over: Partial<RelayLinkOptions> = {},
  ): RelayLink {
    return new RelayLink({
      url: this.url,
      identity,
      tls: tlsOptions(this.ca),
      events,
      random: systemRandom,
      clock: () => performance.now(),
      ...over,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
