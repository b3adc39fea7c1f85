/**
 * A running coordinator: model, journal, certificates, HTTPS server and control sockets together.
 *
 * It runs without the right to load native code or start programs.
 * @module
 */
import { mkdirSync } from "node:fs";
import https from "node:https";
import { getRequestListener } from "@hono/node-server";
import { toHex } from "../core/bytes.ts";
import { PATHS } from "../core/control/envelope.ts";
import type { TokenOptions } from "../core/control/messages.ts";
import { errorMessage, MeshError } from "../core/errors.ts";
import { canonicalIp } from "../core/ip.ts";
import type { Random } from "../core/random.ts";
import { StateLog } from "../storage/state/state_log.ts";
import { createApp } from "./app.ts";
import { ControlSockets } from "./control_sockets.ts";
import type { Log } from "./log.ts";
import { apply } from "./model/apply.ts";
import { ControlHub } from "./model/control_hub.ts";
import { Registry } from "./model/registry.ts";
import { type Moment, Service } from "./model/service.ts";
import {
  type Command,
  decodeCommand,
  decodeState,
  emptyState,
  encodeState,
} from "./model/state.ts";
import { MeshCa, readCertificate } from "./tls.ts";

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
  readonly version: string;
  readonly log: Log;
  /** Wall time in milliseconds. */
  readonly wallTime?: () => number;
}

/** A running coordinator. */
export interface Coordinator {
  readonly port: number;
  readonly meshId: string;
  /** Members of the mesh. */
  readonly nodeCount: number;
  createToken(options: TokenOptions): { readonly token: string };
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
  const { dataDir, publicHosts, version, log } = options;
  const wallTime = options.wallTime ?? Date.now;
  const moment = (): Moment => ({ now: performance.now(), wallTime: Math.floor(wallTime()) });
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const stateLog = await StateLog.open(`${dataDir}/state.db`);
  try {
    const registry = openRegistry(stateLog, options.cidr4 ?? DEFAULT_CIDR4);
    const { state } = registry;
    const ca = await MeshCa.open(dataDir, state, wallTime());
    const caPin = options.certificate ? new Uint8Array(32) : ca.pin;
    const service = new Service({ registry, random, version, caPin });
    const publicIps = publicHosts.flatMap((host) => canonicalIp(host) ?? []);
    const hub = new ControlHub({ registry, random, publicIps });
    const sockets = new ControlSockets(hub, moment);
    const publish = sockets.publish.bind(sockets);
    const app = createApp({ service, ca, version, log, moment, publish });
    const pem = options.certificate
      ? readCertificate(options.certificate)
      : await ca.server(publicHosts, wallTime());
    const server = https.createServer(
      { cert: pem.certificate, key: pem.key },
      getRequestListener(app.fetch, { overrideGlobalObjects: false }),
    );
    server.on("upgrade", (request, socket, head) => {
      if (request.url === PATHS.control) sockets.accept(request, socket, head);
      else socket.destroy();
    });
    await listen(server, options.listen);
    const { port } = server.address() as { port: number };
    log("info", "Coordinator listens", { port, mesh: state.meshId });
    return {
      port,
      meshId: state.meshId,
      get nodeCount() {
        return registry.state.nodes.size;
      },
      createToken: (choices) => {
        const { reply, events } = service.createToken(choices, null, moment());
        publish(events);
        return reply;
      },
      close: async () => {
        await sockets.close();
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
        stateLog.close();
      },
    };
  } catch (error) {
    stateLog.close();
    throw error;
  }
}

/** Commands after which a new snapshot bounds what a start must replay. */
const SNAPSHOT_EVERY = 1000;

/** The state that the log holds, or that of a new mesh. */
function openRegistry(stateLog: StateLog, cidr4: string): Registry {
  const { snapshot, commands } = stateLog.load();
  let state = snapshot === null
    ? emptyState(toHex(random.bytes(16)), cidr4)
    : decodeState(snapshot);
  if (snapshot === null) stateLog.saveSnapshot(encodeState(state));
  for (const text of commands) ({ state } = apply(state, decodeCommand(text)));
  return new Registry(state, {
    append: (command, next) => {
      stateLog.append(JSON.stringify(command));
      if (stateLog.sinceSnapshot >= SNAPSHOT_EVERY) stateLog.saveSnapshot(encodeState(next));
    },
  });
}

async function listen(
  server: https.Server,
  { hostname, port }: CoordinatorOptions["listen"],
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (cause) => {
    const isTaken = /EADDRINUSE|in use/i.test(errorMessage(cause));
    reject(
      new MeshError(
        isTaken ? "already-running" : "system",
        `Cannot listen on ${hostname}:${port}: ${isTaken ? "it is in use" : errorMessage(cause)}`,
        { cause, hint: "Choose another address with --listen HOST:PORT" },
      ),
    );
  });
  server.listen(port, hostname, resolve);
  await promise;
}
