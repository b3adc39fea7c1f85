/**
 * Asks the daemon over its local API: HTTP on a unix socket, JSON bodies, problem details (RFC
 * 9457) for errors.
 * @module
 */
import type { z } from "zod";
import type {
  DnsFinding,
  NetcheckReport,
  PingReport,
  ResolveReport,
  StatusReport,
  WhyReport,
} from "../core/daemon/api_types.ts";
import type {
  AppendReport,
  AppendRequest,
  DraftReport,
  MeshLogReport,
  MeshReport,
  TokenReport,
  TokenRequest,
} from "../core/daemon/mesh_report.ts";
import type { Body } from "../core/state/bodies.ts";
import type {
  FilterAddRequest,
  FilterRemoveRequest,
  FilterReport,
  FilterRuleReport,
  FilterTrace,
  FilterTraceRequest,
} from "../core/daemon/filter_types.ts";
import type { OfferRequest, UseRequest } from "../core/daemon/exit_api.ts";
import type { ExitReport, RoutesReport } from "../core/daemon/exit_report.ts";
import type { PathKind } from "../core/path/address.ts";
import type { PathPreference } from "../core/path/peer_paths.ts";
import { type ErrorCode, errorMessage, ERRORS, MeshError } from "../core/errors.ts";
import { UnixHttp, type UnixResponse } from "./unix_http.ts";

/** How to ping. */
export interface PingOptions {
  readonly count: number;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** A connection, or why there is none. */
type Connection = UnixHttp | { readonly failure: unknown };

/** A connection to one daemon. Every method throws `daemon-unreachable` when it is not there. */
export class ControlClient implements Disposable {
  readonly #socketPath: string;
  readonly #connection: Connection;

  private constructor(socketPath: string, connection: Connection) {
    this.#socketPath = socketPath;
    this.#connection = connection;
  }

  /** Connects; what goes wrong is thrown by the calls, for a command may do without the daemon. */
  static async connect(socketPath: string): Promise<ControlClient> {
    const connection = await UnixHttp.connect(socketPath).catch((failure) => ({ failure }));
    return new ControlClient(socketPath, connection);
  }

  status(): Promise<StatusReport> {
    return this.#json("GET", "/v1/status");
  }

  /** @throws {MeshError} `name-unknown` */
  resolve(name: string): Promise<ResolveReport> {
    return this.#json("GET", `/v1/resolve?name=${encodeURIComponent(name)}`);
  }

  /** Yields a report per probe, as they come in. @throws {MeshError} `peer-unknown` */
  async *ping(peer: string, options: PingOptions): AsyncGenerator<PingReport> {
    const { body } = await this.#send("POST", "/v1/ping", { peer, ...options });
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of body) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) if (line !== "") yield JSON.parse(line);
    }
    if (rest.trim() !== "") yield JSON.parse(rest);
  }

  /** Leaves the mesh: name and address are given back. */
  async leave(): Promise<void> {
    await this.#json("POST", "/v1/leave", {});
  }

  /** Ends the daemon; the node stays a member. */
  async stop(): Promise<void> {
    await this.#json("POST", "/v1/stop", {});
  }

  dnsDoctor(): Promise<DnsFinding[]> {
    return this.#json("GET", "/v1/dns/doctor");
  }

  /** @throws {MeshError} `name-unknown`, `peer-unknown` */
  why(peer: string): Promise<WhyReport> {
    return this.#json("GET", `/v1/why?peer=${encodeURIComponent(peer)}`);
  }

  netcheck(): Promise<NetcheckReport> {
    return this.#json("GET", "/v1/netcheck");
  }

  /** Says which kinds of path to use for a peer; what is left out stays as it is. */
  preferPaths(
    request: {
      peer: string;
      order?: readonly PathKind[];
      exclude?: readonly PathKind[];
      reset?: boolean;
    },
  ): Promise<PathPreference> {
    return this.#json("POST", "/v1/paths", request);
  }

  /** All rules of the packet filter. */
  filter(): Promise<FilterReport> {
    return this.#json("GET", "/v1/filter");
  }

  /** @throws {MeshError} `peer-unknown` */
  addFilterRule(request: FilterAddRequest): Promise<FilterRuleReport> {
    return this.#json("POST", "/v1/filter/add", request);
  }

  /** Answers with what was removed. @throws {MeshError} `usage` when nothing is like that */
  removeFilterRules(request: FilterRemoveRequest): Promise<FilterRuleReport[]> {
    return this.#json("POST", "/v1/filter/remove", request);
  }

  /** @throws {MeshError} `peer-unknown`, `usage` */
  traceFilter({ from, port }: FilterTraceRequest): Promise<FilterTrace> {
    return this.#json("GET", `/v1/filter/trace?${new URLSearchParams({ from, port })}`);
  }

  exits(): Promise<ExitReport> {
    return this.#json("GET", "/v1/exits");
  }

  /** @throws {MeshError} `peer-unknown`, `config-invalid`, `forbidden` for a peer that is no exit. */
  useExits(request: UseRequest): Promise<ExitReport> {
    return this.#json("POST", "/v1/exits/use", request);
  }

  routes(): Promise<RoutesReport> {
    return this.#json("GET", "/v1/routes");
  }

  /** @throws {MeshError} `config-invalid` for a network that cannot be offered. */
  offer(request: OfferRequest): Promise<RoutesReport> {
    return this.#json("POST", "/v1/routes/offer", request);
  }

  bugreport(): Promise<unknown> {
    return this.#json("GET", "/v1/bugreport");
  }

  /** What the mesh's log comes to at present. */
  mesh(): Promise<MeshReport> {
    return this.#json("GET", "/v1/mesh");
  }

  /** The mesh's log. */
  meshLog(): Promise<MeshLogReport> {
    return this.#json("GET", "/v1/mesh/log");
  }

  /** The entry that would state `body` now, to be signed. */
  draft(body: Body): Promise<DraftReport> {
    return this.#json("POST", "/v1/mesh/draft", { body });
  }

  /** @throws {MeshError} `entry-forbidden`, `entry-conflict`, `last-admin`, `log-fork` */
  append(request: AppendRequest): Promise<AppendReport> {
    return this.#json("POST", "/v1/mesh/append", request);
  }

  /** @throws {MeshError} `forbidden` for a node that is no admin's, `name-unknown` */
  createToken(request: z.input<typeof TokenRequest>): Promise<TokenReport> {
    return this.#json("POST", "/v1/tokens", request);
  }

  /** @throws {MeshError} `token-invalid`, `forbidden` */
  async revokeToken(id: string): Promise<void> {
    await this.#json("POST", "/v1/tokens/revoke", { id });
  }

  [Symbol.dispose](): void {
    if (this.#connection instanceof UnixHttp) this.#connection[Symbol.dispose]();
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const text = await textOf(await this.#send(method, path, body));
    try {
      return JSON.parse(text === "" ? "null" : text);
    } catch (cause) {
      throw new MeshError("protocol-invalid", "Cannot read the daemon's answer: it is no JSON", {
        cause,
        hint: "Another program may listen on that socket, or a daemon of another version",
      });
    }
  }

  async #send(method: string, path: string, body?: unknown): Promise<UnixResponse> {
    if (!(this.#connection instanceof UnixHttp)) throw this.#unreachable(this.#connection.failure);
    let response: UnixResponse;
    try {
      response = await this.#connection.request(method, path, body);
    } catch (cause) {
      throw this.#unreachable(cause);
    }
    const whole = { ...response, body: this.#guarded(response.body) };
    if (response.status < 300) return whole;
    throw await problemOf(whole);
  }

  /** The body, whose end may fail to come as well. */
  async *#guarded(body: UnixResponse["body"]): UnixResponse["body"] {
    try {
      yield* body;
    } catch (cause) {
      throw this.#unreachable(cause);
    }
  }

  #unreachable(cause: unknown): unknown {
    // The process may not: that is no matter of the daemon.
    if (cause instanceof Deno.errors.NotCapable) return cause;
    const text = errorMessage(cause);
    const message = `Cannot reach the daemon at ${this.#socketPath}`;
    if (/Permission denied|os error 13/.test(text)) {
      return new MeshError("daemon-unreachable", `${message}: permission denied`, {
        cause,
        hint: "The daemon belongs to another user; run the command with sudo",
      });
    }
    if (/No such file|Connection refused|os error (2|111)\b/.test(text)) {
      return new MeshError("daemon-unreachable", `${message}: it is not running`, {
        cause,
        hint: "Start it with `sudo tunnelmesh up`, or `sudo tunnelmesh join URL --token TOKEN`",
      });
    }
    return new MeshError("daemon-unreachable", `${message}: ${text}`, { cause });
  }
}

/** The error that a problem document describes. */
async function problemOf(response: UnixResponse): Promise<MeshError> {
  const text = await textOf(response);
  try {
    const { type, title, detail } = JSON.parse(text);
    const code = String(type).replace("urn:tunnelmesh:error:", "");
    if (Object.hasOwn(ERRORS, code) && typeof title === "string") {
      return new MeshError(
        code as ErrorCode,
        title,
        typeof detail === "string" ? { hint: detail } : {},
      );
    }
  } catch {
    // Not a problem document: reported below by its status.
  }
  return new MeshError("internal", `Cannot get the daemon's answer: status ${response.status}`);
}

async function textOf({ body }: UnixResponse): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of body) text += decoder.decode(bytes, { stream: true });
  return text;
}
