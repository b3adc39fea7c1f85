/**
 * The daemon's local API: HTTP over unix sockets that only this machine's users reach.
 *
 * The main socket is readable by the daemon's user alone (0600) and offers everything. A second one
 * beside it, open to every local user, offers only what cannot change anything.
 * @module
 */
import { dirname } from "node:path";
import { z } from "zod";
import { ERRORS, MeshError } from "../errors.ts";
import { MESH_ROUTES, type MeshActions } from "./mesh_api.ts";
import { type ApiRoute, parseBody } from "./api_route.ts";
import { FILTER_ROUTES } from "./filter_api.ts";
import type { FilterActions } from "./filter_types.ts";
import { EXIT_ROUTES, type ExitActions } from "./exit_api.ts";
import { readOnlySocketPath } from "./socket_path.ts";
import { PATH_KINDS } from "../path/address.ts";
import type {
  DnsFinding,
  NetcheckReport,
  PingReport,
  ResolveReport,
  StatusReport,
  WhyReport,
} from "./api_types.ts";

/** What the API calls; the daemon implements it. */
export interface LocalApiActions {
  readonly filter: FilterActions;
  status(): StatusReport;
  resolve(name: string): ResolveReport;
  ping(request: PingRequest, signal: AbortSignal): AsyncIterable<PingReport>;
  diagnoseDns(): Promise<DnsFinding[]>;
  why(peer: string): WhyReport;
  netcheck(): NetcheckReport;
  /** Answers with what holds afterwards. */
  preferPaths(request: PathsRequest): WhyReport["preference"];
  bugreport(): unknown;
  leave(): Promise<void>;
  stop(): void;
  readonly mesh: MeshActions;
  readonly exits: ExitActions;
}

export const PingRequest = z.strictObject({
  peer: z.string().min(1).max(255),
  count: z.int().min(1).max(1_000_000).default(4),
  intervalMs: z.int().min(10).max(3_600_000).default(1000),
  timeoutMs: z.int().min(10).max(60_000).default(1000),
});
export type PingRequest = z.infer<typeof PingRequest>;

const Kinds = z.array(z.enum(PATH_KINDS)).max(PATH_KINDS.length);
export const PathsRequest = z.strictObject({
  peer: z.string().min(1).max(255),
  order: Kinds.optional(),
  exclude: Kinds.refine((kinds) => new Set(kinds).size < PATH_KINDS.length, {
    error: "must leave a kind of path",
  }).optional(),
  /** Takes back what was chosen here, so that an admin's word or the configuration holds. */
  reset: z.boolean().default(false),
});
export type PathsRequest = z.infer<typeof PathsRequest>;

const ROUTES: Readonly<Record<string, ApiRoute<LocalApiActions>>> = {
  ...FILTER_ROUTES,
  ...MESH_ROUTES,
  "/v1/status": {
    method: "GET",
    isReadOnly: true,
    handle: (actions) => Response.json(actions.status()),
  },
  "/v1/resolve": {
    method: "GET",
    isReadOnly: true,
    handle: (actions, request) => {
      const name = new URL(request.url).searchParams.get("name") ?? "";
      return Response.json(actions.resolve(name));
    },
  },
  "/v1/ping": {
    method: "POST",
    isReadOnly: true,
    handle: async (actions, request, signal) =>
      lines(actions.ping(await parseBody(request, PingRequest), signal)),
  },
  "/v1/why": {
    method: "GET",
    isReadOnly: true,
    handle: (actions, request) => {
      const peer = new URL(request.url).searchParams.get("peer") ?? "";
      return Response.json(actions.why(peer));
    },
  },
  "/v1/netcheck": {
    method: "GET",
    isReadOnly: true,
    handle: (actions) => Response.json(actions.netcheck()),
  },
  "/v1/paths": {
    method: "POST",
    isReadOnly: false,
    handle: async (actions, request) =>
      Response.json(actions.preferPaths(await parseBody(request, PathsRequest))),
  },
  ...EXIT_ROUTES,
  "/v1/bugreport": {
    method: "GET",
    isReadOnly: false,
    handle: (actions) => Response.json(actions.bugreport()),
  },
  "/v1/dns/doctor": {
    method: "GET",
    isReadOnly: true,
    handle: async (actions) => Response.json(await actions.diagnoseDns()),
  },
  "/v1/leave": {
    method: "POST",
    isReadOnly: false,
    handle: async (actions) => {
      await actions.leave();
      return Response.json({});
    },
  },
  "/v1/stop": {
    method: "POST",
    isReadOnly: false,
    handle: (actions) => {
      actions.stop();
      return Response.json({});
    },
  },
};

/** Serves both sockets until closed. */
export class LocalApi {
  readonly #servers: Deno.HttpServer<Deno.UnixAddr>[] = [];
  readonly #paths: string[] = [];
  readonly #abort = new AbortController();

  /** @throws {MeshError} `system` when a socket cannot be made. */
  static async start(socketPath: string, actions: LocalApiActions): Promise<LocalApi> {
    const api = new LocalApi();
    try {
      await Deno.mkdir(dirname(socketPath), { recursive: true, mode: 0o755 });
      await api.#serve(socketPath, 0o600, actions, false);
      await api.#serve(readOnlySocketPath(socketPath), 0o666, actions, true);
    } catch (cause) {
      await api.close();
      throw new MeshError("system", `Cannot open local socket "${socketPath}": ${cause}`, {
        cause,
        hint: "Name another one with control_socket in the configuration",
      });
    }
    return api;
  }

  /** Ends streams under way and removes the sockets. */
  async close(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#servers.map((server) => server.shutdown()));
    for (const path of this.#paths) {
      await Deno.remove(path).catch(() => {});
    }
  }

  async #serve(
    path: string,
    mode: number,
    actions: LocalApiActions,
    isReadOnly: boolean,
  ): Promise<void> {
    // The state directory's lock says that no other daemon serves this path: a leftover may go.
    await Deno.remove(path).catch(() => {});
    const umask = Deno.umask(0o177);
    try {
      const handler = (request: Request) => this.#answer(request, actions, isReadOnly);
      this.#servers.push(Deno.serve({ path, onListen: () => {} }, handler));
    } finally {
      Deno.umask(umask);
    }
    await Deno.chmod(path, mode);
    this.#paths.push(path);
  }

  async #answer(
    request: Request,
    actions: LocalApiActions,
    isReadOnly: boolean,
  ): Promise<Response> {
    const url = new URL(request.url);
    const route = ROUTES[url.pathname];
    try {
      if (!route || route.method !== request.method) {
        throw new MeshError("usage", `Cannot ${request.method} ${url.pathname}: no such endpoint`);
      }
      if (isReadOnly && !route.isReadOnly) {
        const why = `the daemon answers ${request.method} ${url.pathname} to its own user only`;
        throw new MeshError("privilege-missing", `Cannot do that as this user: ${why}`, {
          hint: "Run the command again with sudo",
        });
      }
      return await route.handle(actions, request, this.#abort.signal);
    } catch (error) {
      return problem(error);
    }
  }
}

/** JSON lines, one for each item as it comes. */
function lines(items: AsyncIterable<unknown>): Response {
  const text = ReadableStream.from(items).pipeThrough(
    new TransformStream<unknown, string>({
      transform: (item, controller) => controller.enqueue(JSON.stringify(item) + "\n"),
    }),
  );
  return new Response(text.pipeThrough(new TextEncoderStream()), {
    headers: { "content-type": "application/x-ndjson" },
  });
}

/** Problem details (RFC 9457). */
function problem(error: unknown): Response {
  const known = error instanceof MeshError ? error : new MeshError("internal", String(error));
  const { http: status } = ERRORS[known.code];
  return Response.json({
    type: `urn:tunnelmesh:error:${known.code}`,
    title: known.message,
    status,
    ...(known.hint ? { detail: known.hint } : {}),
  }, { status, headers: { "content-type": "application/problem+json" } });
}
