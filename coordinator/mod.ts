/**
 * A running coordinator: model, journal, certificates, HTTPS server and control sockets together.
 *
 * It runs without the right to load native code or start programs.
 * @module
 */
import { mkdirSync } from "node:fs";
import type { Server } from "node:https";
import { getRequestListener } from "@hono/node-server";
import type { FeedMessage } from "../core/control/feed.ts";
import { PATHS } from "../core/control/envelope.ts";
import { encodeToken } from "../core/identity/token.ts";
import { canonicalIp, type Ip } from "../core/ip.ts";
import type { Random } from "../core/random.ts";
import { StateLog } from "../storage/state/state_log.ts";
import { type Certifier, createApp } from "./app.ts";
import { ControlSockets } from "./control_sockets.ts";
import { type Follower, followerCertificate, followerCertifier, readFollower } from "./follower.ts";
import { openHttpsServer } from "./https_server.ts";
import { type Opened, openRegistry } from "./journal.ts";
import type { Log } from "./log.ts";
import { Adoption } from "./model/adoption.ts";
import type { ModelEvent } from "./model/apply.ts";
import { ControlHub } from "./model/control_hub.ts";
import type { FirstToken } from "./model/mesh.ts";
import { startStunServer } from "./stun_server.ts";
import { type Moment, Service } from "./model/service.ts";
import { RelaySockets } from "./relay_sockets.ts";
import { Turnstile } from "./turnstile.ts";
import { MeshCa, type PemPair, readCertificate } from "./tls.ts";

/** IPv4 range of a mesh that names none. */
export const DEFAULT_CIDR4 = "172.30.0.0/16";

/** How a coordinator runs. */
export interface CoordinatorOptions {
  /** Folder of database and keys; made 0700. */
  readonly dataDir: string;
  readonly listen: { readonly hostname: string; readonly port: number };
  /** Names and addresses that nodes reach it by; they go into its certificate. */
  readonly publicHosts: readonly string[];
  /** For a mesh that is being made; an existing one keeps its own. */
  readonly cidr4?: string;
  /** PEM files of a certificate that everyone trusts, in place of the mesh's own. */
  readonly certificate?: { readonly certFile: string; readonly keyFile: string };
  /** UDP ports where nodes learn how they are seen; none answers when absent. */
  readonly stunPorts?: readonly number[];
  /** A second address of this machine that answers there too. */
  readonly stunAddress?: Ip | null;
  readonly version: string;
  readonly log: Log;
  /** Wall time in milliseconds. */
  readonly wallTime?: () => number;
}

/** A running coordinator. */
export interface Coordinator {
  readonly port: number;
  readonly meshId: string;
  /** Admits the first node of a mesh that nobody has joined; null for any other mesh. */
  firstToken(kind: FirstToken): string | null;
  /** How far its copy of the mesh's log went when it started. */
  readonly head: number;
  /** Takes what the node beside it tells, where it follows another coordinator. */
  feed(message: FeedMessage): void;
  /** Ends connections and closes the files. */
  close(): Promise<void>;
}

const random: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  uint32: () => crypto.getRandomValues(new Uint32Array(1))[0]!,
};

/**
 * Starts a coordinator; it listens when the promise resolves.
 *
 * @throws {MeshError} `config-invalid`, `state-invalid`, `already-running` when the port is taken.
 */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { dataDir, log } = options;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const wallTime = (options.wallTime ?? Date.now)();
  await using files = new AsyncDisposableStack();
  const stateLog = await StateLog.open(`${dataDir}/state.db`);
  files.defer(() => stateLog.close());
  const cidr4 = options.cidr4 ?? DEFAULT_CIDR4;
  const follower = readFollower(dataDir);
  const opened = openRegistry(stateLog, { dataDir, cidr4, random, wallTime, log, follower });
  files.use(opened.logFile);
  const coordinator = await start(options, opened, follower);
  const open = files.move();
  return {
    ...coordinator,
    close: async () => {
      await coordinator.close();
      await open.disposeAsync();
    },
  };
}

async function start(
  options: CoordinatorOptions,
  { registry, mesh }: Opened,
  follower: Follower | null,
): Promise<Coordinator> {
  const { version, log } = options;
  const wallTime = options.wallTime ?? Date.now;
  const moment = (): Moment => ({ now: performance.now(), wallTime: Math.floor(wallTime()) });
  const { meshId } = registry.state;
  const { ca, caPin, certificate } = await openCertificates(options, { registry, mesh }, follower);
  const leader = follower?.leader ?? null;
  const service = new Service({ registry, mesh, random, version, leader });
  const publicIps = options.publicHosts.flatMap((host) => canonicalIp(host) ?? []);
  const stun = startStunServer({
    hostname: options.listen.hostname,
    otherAddress: options.stunAddress ?? null,
    ports: options.stunPorts ?? [],
    clock: () => moment().now,
    log,
  });
  const stunPorts = stun.ports;
  const adoption = follower && new Adoption(registry, mesh);
  const hub = new ControlHub({ registry, mesh, random, publicIps, stunPorts, adoption });
  const relay = RelaySockets.of({ mesh, registry }, { random, moment });
  const sockets = new ControlSockets(hub, { moment, log, gone: (peers) => relay.end(peers) });
  const publish = (events: readonly ModelEvent[]) => sockets.publish(events);
  const turnstile = new Turnstile();
  const app = createApp({ service, turnstile, ca, version, log, moment, publish });
  const { server, port, close } = await openHttpsServer({
    listen: options.listen,
    certificate,
    handle: getRequestListener(app.fetch, { overrideGlobalObjects: false }),
    log,
  });
  acceptUpgrades(server, sockets, relay);
  log("info", "Coordinator listens", { port, mesh: meshId, ...(leader ? { leader } : {}) });
  return {
    port,
    meshId,
    firstToken: (kind) =>
      mesh.isNew ? encodeToken({ caPin, meshId, secret: mesh.firstSecret(kind) }) : null,
    head: mesh.log.head.seq,
    feed: (message) => sockets.feed(message),
    close: async () => {
      turnstile.close();
      await Promise.all([sockets.close(), relay.close(), stun.close()]);
      await close();
    },
  };
}

/** Who certifies, and what proves that this is a coordinator. */
async function openCertificates(
  { dataDir, publicHosts, certificate, ...options }: CoordinatorOptions,
  { registry, mesh }: Pick<Opened, "registry" | "mesh">,
  follower: Follower | null,
): Promise<{ ca: Certifier; caPin: Uint8Array; certificate: () => Promise<PemPair> }> {
  const wallTime = options.wallTime ?? Date.now;
  // Read again each time: whoever renews it replaces the files.
  const given = certificate && (() => Promise.resolve(readCertificate(certificate)));
  if (follower) {
    const ca = followerCertifier(dataDir, follower);
    const own = () => Promise.resolve(followerCertificate(dataDir));
    return { ca, caPin: new Uint8Array(32), certificate: given ?? own };
  }
  const isEmpty = mesh.isNew;
  const ca = await MeshCa.open(dataDir, registry.state, { now: wallTime(), isEmpty });
  const caPin = certificate ? new Uint8Array(32) : ca.pin;
  return { ca, caPin, certificate: given ?? (() => ca.server(publicHosts, wallTime())) };
}

/** Gives each request for a WebSocket to whom its path belongs. */
function acceptUpgrades(server: Server, control: ControlSockets, relay: RelaySockets): void {
  server.on("upgrade", (request, socket, head) => {
    const target = request.url === PATHS.relay ? relay : control;
    target.accept(request, socket, head);
  });
}
