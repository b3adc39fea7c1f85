/**
 * What tests of SSH links share: nodes that know each other, and a TCP proxy that can fail.
 * @module
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { toHex } from "../../core/bytes.ts";
import { type Identity, identityFromSeed } from "../../core/identity/keys.ts";
import type { PeerId } from "../../core/ids.ts";
import type { LinkEvents, Train } from "../../core/link.ts";
import { SeededRandom } from "../../core/random.ts";
import type { Members } from "./keys.ts";
import { LIMITS, type Limits } from "./limits.ts";
import { SshLink, type SshLinkOptions } from "./link.ts";

/** Whatever is waited for has to come within this. */
const DEADLINE_MS = 20_000;
const PAUSE_MS = 5;

/** Short enough for tests, long enough for a busy machine. */
export const TEST_LIMITS: Limits = {
  ...LIMITS,
  firstRetryMs: 50,
  maxRetryMs: 200,
  keepAliveMs: 400,
  ackDelayMs: 50,
  stallMs: 2_000,
};

/** The identity whose seed is `byte`, 32 times. */
export function identityOf(byte: number): Identity {
  return identityFromSeed(new Uint8Array(32).fill(byte));
}

/** A mesh with these members; it can lose some. */
export class Membership implements Members {
  readonly #keys: Map<PeerId, Uint8Array>;

  constructor(identities: readonly Identity[]) {
    this.#keys = new Map(identities.map(({ peerId, publicKey }) => [peerId, publicKey]));
  }

  publicKeyOf(peer: PeerId): Uint8Array | null {
    return this.#keys.get(peer) ?? null;
  }

  peerOf(publicKey: Uint8Array): PeerId | null {
    const text = toHex(publicKey);
    for (const [peer, key] of this.#keys) if (toHex(key) === text) return peer;
    return null;
  }

  remove(peer: PeerId): void {
    this.#keys.delete(peer);
  }
}

/** Keeps what a link tells its owner. */
export class Witness implements LinkEvents {
  readonly changes: {
    readonly peer: PeerId | null;
    readonly isUp: boolean;
    readonly why: string;
  }[] = [];
  /** Bytes of all trains. */
  bytes = 0;

  received(_: PeerId, train: Train): void {
    this.bytes += train.bytes.length;
  }

  changed(peer: PeerId | null, isUp: boolean, why: string): void {
    this.changes.push({ peer, isUp, why });
  }

  /** Why the way ceased to work, each time. */
  get problems(): string[] {
    return this.changes.filter(({ isUp }) => !isUp).map(({ why }) => why);
  }
}

/** Opens the link of a member on loopback. */
export function openLink(
  identity: Identity,
  members: Members,
  events: LinkEvents,
  options: Partial<SshLinkOptions> = {},
): Promise<SshLink> {
  return SshLink.open({
    identity,
    publicKeyOf: (peer) => members.publicKeyOf(peer),
    peerOf: (publicKey) => members.peerOf(publicKey),
    listen: { hostname: "127.0.0.1", port: 0 },
    events,
    random: new SeededRandom(1),
    clock: () => performance.now(),
    limits: TEST_LIMITS,
    ...options,
  });
}

/** Waits until `isTrue`, looking now and then. */
export async function until(isTrue: () => boolean, what: string): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Passes TCP connections on to a port of loopback, until it is told not to. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isStalled = false;
  /** Connections so far. */
  count = 0;

  private constructor(target: () => number) {
    this.#server = createServer((from) => this.#pass(from, target()));
  }

  static async listen(target: () => number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    const { promise, resolve } = Promise.withResolvers<void>();
    proxy.#server.listen(0, "127.0.0.1", () => resolve());
    await promise;
    return proxy;
  }

  get endpoint(): string {
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** Swallows all from now on, on all connections. */
  stall(): void {
    this.#isStalled = true;
  }

  /** Ends all connections; new ones work again. */
  kill(): void {
    this.#isStalled = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.kill();
    await promise;
  }

  #pass(from: Socket, port: number): void {
    this.count++;
    const to = connect({ host: "127.0.0.1", port });
    for (const [one, other] of [[from, to], [to, from]] as const) {
      this.#sockets.add(one);
      one.setNoDelay(true);
      one.on("error", () => {});
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      one.on("data", (chunk) => {
        if (!this.#isStalled && other.writable) other.write(chunk);
      });
    }
  }
}
