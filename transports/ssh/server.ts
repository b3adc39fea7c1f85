/**
 * How does a peer come in over SSH? A server that lets members in, and gives them one channel.
 *
 * There is no shell, no file and no port to be had here. A client may open a single channel of type
 * `direct-streamlocal@openssh.com` to {@link CHANNEL_PATH}, which is no file. ssh2 refuses by itself
 * whatever has no listener: sessions (shell, exec, subsystems, terminals), `direct-tcpip`, and all
 * global requests, so forwarding of any kind.
 * @module
 */
import { createServer, type Server, type Socket } from "node:net";
import { toHex } from "../../core/bytes.ts";
import { type Identity, verify } from "../../core/identity/keys.ts";
import type { PeerId } from "../../core/ids.ts";
import { parseIp } from "../../core/ip.ts";
import type { Carrier } from "./connection.ts";
import { type Members, memberWith, parsePublicKeyBlob, privateKeyPem } from "./keys.ts";
import { SSH_KEY_TYPE, SSH_USER } from "./keys.ts";
import type { Limits } from "./limits.ts";
import { ALGORITHMS, IDENT, loadSsh2 } from "./ssh2.ts";
import type { AuthContext, IncomingClient, Ssh2 } from "./ssh2.ts";

/** What the channel asks for. */
export const CHANNEL_PATH = "tunnelmesh.datagram";
/** Connections without a channel; when there are more, the oldest makes room. */
const MAX_VISITORS = 64;
/** Of those from one address, or one IPv6 /64. */
const MAX_VISITORS_PER_SOURCE = 8;
/** As in OpenSSH's MaxAuthTries. */
const MAX_REFUSALS = 6;

export interface ListenerOptions {
  readonly identity: Identity;
  readonly members: Members;
  readonly limits: Limits;
  /** A peer opened its channel. */
  readonly onOpen: (peer: PeerId, carrier: Carrier) => void;
}

/** A connection that has no channel yet. */
interface Visitor {
  readonly socket: Socket;
  readonly source: string;
  readonly timer: ReturnType<typeof setTimeout>;
  refusals: number;
  /** Who it is, once that is proved. */
  peer: PeerId | null;
}

/** Listens for peers. */
export class SshListener {
  readonly #options: ListenerOptions;
  readonly #hostKey: string;
  readonly #server: Server;
  /** In the order in which they came. */
  readonly #visitors = new Set<Visitor>();

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#hostKey = privateKeyPem(options.identity);
    this.#server = createServer({ noDelay: true }, (socket) => this.#admit(socket));
    // A connection that could not be accepted, for want of file descriptors, is its client's loss.
    this.#server.on("error", () => {});
  }

  /** Listens on `port`, or on any port when that one is taken. */
  static async open(
    options: ListenerOptions,
    hostname: string,
    port: number,
  ): Promise<SshListener> {
    const listener = new SshListener(options);
    try {
      await listener.#listen(hostname, port);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EADDRINUSE") throw error;
      await listener.#listen(hostname, 0);
    }
    return listener;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Stops listening and ends what has no channel yet. */
  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const visitor of this.#visitors) visitor.socket.destroy();
    await promise;
  }

  #listen(hostname: string, port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(port, hostname, () => {
      this.#server.off("error", reject);
      resolve();
    });
    return promise;
  }

  #admit(socket: Socket): void {
    const source = sourceOf(socket.remoteAddress ?? "");
    const neighbours = [...this.#visitors].filter((each) => each.source === source);
    if (neighbours.length >= MAX_VISITORS_PER_SOURCE) return void socket.destroy();
    const [oldest] = this.#visitors;
    if (oldest && this.#visitors.size >= MAX_VISITORS) this.#dismiss(oldest);
    const visitor: Visitor = {
      socket,
      source,
      timer: setTimeout(() => this.#dismiss(visitor), this.#options.limits.handshakeMs),
      refusals: 0,
      peer: null,
    };
    this.#visitors.add(visitor);
    socket.once("close", () => this.#forget(visitor));
    socket.setNoDelay(true);
    socket.on("error", () => {});
    // Only now: a node that nobody visits needs no memory for it.
    loadSsh2().then((ssh2) => this.#serve(visitor, ssh2), () => this.#dismiss(visitor));
  }

  #serve(visitor: Visitor, ssh2: Ssh2): void {
    if (visitor.socket.destroyed) return;
    const config = { hostKeys: [this.#hostKey], algorithms: ALGORITHMS, ident: IDENT };
    // A server for each connection: only so it is certain which socket a client belongs to.
    const server = new ssh2.Server(config, (client) => this.#greet(visitor, client));
    server.injectSocket(visitor.socket);
  }

  #greet(visitor: Visitor, client: IncomingClient): void {
    client.on("error", (error) => visitor.socket.destroy(error));
    client.on("authentication", (context) => this.#authenticate(visitor, context));
    client.on("openssh.streamlocal", (accept, reject, { socketPath }) => {
      if (visitor.peer === null || socketPath !== CHANNEL_PATH || !this.#forget(visitor)) {
        return reject();
      }
      const { socket, peer } = visitor;
      this.#options.onOpen(peer, { socket, channel: accept(), rekey: () => client.rekey() });
    });
  }

  #authenticate(visitor: Visitor, context: AuthContext): void {
    const peer = this.#memberOf(context);
    if (peer === null || !this.#isProved(context)) {
      if (++visitor.refusals >= MAX_REFUSALS) return this.#dismiss(visitor);
      return context.reject(["publickey"]);
    }
    // Without a signature it was only the question whether the key would do.
    if (context.signature) visitor.peer = peer;
    context.accept();
  }

  #memberOf({ method, username, key }: AuthContext): PeerId | null {
    if (method !== "publickey" || username !== SSH_USER || key?.algo !== SSH_KEY_TYPE) return null;
    const peer = memberWith(key.data, this.#options.members);
    return peer === this.#options.identity.peerId ? null : peer;
  }

  #isProved({ key, signature, blob }: AuthContext): boolean {
    if (!signature) return true;
    const publicKey = parsePublicKeyBlob(key!.data);
    return publicKey !== null && blob !== undefined && verify(publicKey, blob, signature);
  }

  #dismiss(visitor: Visitor): void {
    this.#forget(visitor);
    visitor.socket.destroy();
  }

  /** Whether it was a visitor until now. */
  #forget(visitor: Visitor): boolean {
    clearTimeout(visitor.timer);
    return this.#visitors.delete(visitor);
  }
}

/** An address, or the network of an IPv6 address that one customer usually has (RFC 6177). */
function sourceOf(address: string): string {
  const bytes = parseIp(address);
  if (!bytes) return address;
  const isMapped = bytes.length === 16 && bytes.subarray(0, 10).every((byte) => byte === 0);
  return toHex(isMapped ? bytes : bytes.subarray(0, 8));
}
