/**
 * A daemon for tests: the local API on a unix socket, answering with facts it was given.
 * @module
 */
import type { PeerReport, StatusReport } from "../core/daemon/api_types.ts";
import { ERRORS, MeshError } from "../core/errors.ts";

/** A peer with a session, a minute old. */
export const PEER: PeerReport = {
  id: "0123456789abcdef",
  name: "anna",
  aliases: ["www"],
  addresses: ["172.30.0.2", "fd5c:8a2f:91d3::2"],
  wireguardKey: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
  isCoordinator: true,
  online: true,
  session: "up",
  link: "udp",
  endpoint: "192.0.2.1:51820",
  mtu: null,
  candidates: ["192.0.2.1:51820", "10.0.0.4:51820"],
  rtt: { value: 12.44, ageMs: 3_200 },
  loss: { value: 0.004, ageMs: 9_000 },
  lastHandshakeAgeMs: 41_000,
  bytesSent: 1_258_291,
  bytesReceived: 35_756_441,
  packetsSent: 4_000,
  packetsReceived: 1,
  features: ["pieces", "aes"],
};

/** A node with that peer. */
export const STATUS: StatusReport = {
  version: "0.1.0",
  pid: 4242,
  uptimeMs: 8_040_000,
  context: "default",
  id: "fedcba9876543210",
  name: "hub",
  addresses: ["172.30.0.3", "fd5c:8a2f:91d3::3"],
  meshId: "6f1d2c3b4a596877",
  cidr4: "172.30.0.0/16",
  prefix6: "fd5c:8a2f:91d3::/48",
  isAdmin: true,
  interfaceName: "tun-mesh0",
  mtu: 1420,
  udpPort: 51820,
  aead: "libcrypto",
  offloads: ["tso", "uso", "gso", "gro"],
  coordinator: {
    url: "https://a.example.com:8443",
    state: "connected",
    isFollower: false,
    sinceMs: 8_000_000,
    rtt: { value: 11.2, ageMs: 4_000 },
    lastError: null,
    clockOffsetMs: 3,
  },
  dns: { mode: "resolved", listen: "172.30.0.3:53", upstreams: ["192.0.2.53"], repairs: [] },
  filter: {
    defaultAction: "deny",
    problem: null,
    layers: { coordinator: 2, config: 0, temporary: 0, service: 1 },
    hits: { "service-dns": 12 },
  },
  peers: [PEER],
  drops: {},
  warnings: [],
};

/** What a request is answered with; lines make a JSON-lines body. */
export type FakeReply =
  | { readonly json: unknown }
  | { readonly lines: readonly unknown[] }
  | { readonly text: string; readonly status: number }
  | { readonly error: MeshError };

/** A request as the daemon saw it. */
export interface SeenRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly body: unknown;
}

/** Serves the local API until it is disposed of. */
export class FakeDaemon implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  readonly socketPath: string;
  readonly #server: Deno.HttpServer;

  /** @param answer Called for each request. */
  constructor(socketPath: string, answer: (request: SeenRequest) => FakeReply) {
    this.socketPath = socketPath;
    this.#server = Deno.serve({ path: socketPath, onListen() {} }, async (request) => {
      const { pathname, search } = new URL(request.url);
      const text = await request.text();
      const body = text === "" ? null : JSON.parse(text);
      const seen = { method: request.method, path: pathname + search, body };
      this.seen.push(seen);
      return responseOf(answer(seen));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function responseOf(reply: FakeReply): Response {
  if ("json" in reply) return Response.json(reply.json);
  if ("lines" in reply) {
    return new Response(reply.lines.map((line) => JSON.stringify(line)).join("\n"), {
      headers: { "content-type": "application/x-ndjson" },
    });
  }
  if ("text" in reply) return new Response(reply.text, { status: reply.status });
  const { code, message, hint } = reply.error;
  const type = `urn:tunnelmesh:error:${code}`;
  const status = ERRORS[code].http;
  return Response.json({ type, title: message, detail: hint, status }, { status });
}
