/**
 * The coordinator's HTTP API: parses requests, asks the {@link Service}, answers JSON.
 *
 * Everything that decides is in `model/`; here are bounds on bodies and rates, and the one place
 * where a failure becomes problem details (RFC 9457).
 * @module
 */
import { type Context, Hono, type HonoRequest } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { PATHS } from "../core/control/envelope.ts";
import {
  ChallengeRequest,
  Envelope,
  type Health,
  LogEnvelope,
  MAX_LOG_REQUEST_BYTES,
  MAX_REQUEST_BYTES,
  parseJson,
  type RegisterReply,
} from "../core/control/messages.ts";
import { errorMessage, ERRORS, MeshError } from "../core/errors.ts";
import { PeerId } from "../core/ids.ts";
import type { ModelEvent } from "./model/apply.ts";
import { RateLimiter, sourceKey } from "./model/rate_limiter.ts";
import type { Answer, Moment, Service } from "./model/service.ts";
import type { Log } from "./log.ts";
import type { MeshCa } from "./tls.ts";
import type { Turnstile } from "./turnstile.ts";

/** Requests of one source: joining takes three, so this is for a rack that joins behind one NAT. */
const REQUEST_LIMIT = { burst: 300, perSecond: 30, capacity: 8192 };

/** What is asked of the mesh's certificate authority. */
export type Certifier = Pick<MeshCa, "certificate" | "issue" | "certifyCoordinator">;

/** What the routes need. */
export interface AppOptions {
  readonly service: Service;
  readonly ca: Certifier;
  readonly version: string;
  readonly log: Log;
  readonly moment: () => Moment;
  /** Has machines that join follow one another. */
  readonly turnstile: Turnstile;
  /** Tells the control hub what a request changed. */
  readonly publish: (events: readonly ModelEvent[]) => void;
}

/** What the HTTP server adds to a request. */
export interface Env {
  Bindings: { incoming: { socket: { remoteAddress?: string } } };
}

/** Builds the app. */
export function createApp(options: AppOptions): Hono<Env> {
  const { service, log, moment, publish } = options;
  const limiter = new RateLimiter(REQUEST_LIMIT);
  const app = new Hono<Env>();
  const changing = changeTeller(publish);

  app.onError((error, c) => problem(error, c, log));
  app.notFound((c) => {
    throw new MeshError("name-unknown", `Cannot find ${c.req.path}: there is no such path`);
  });
  app.use(async (c, next) => {
    checkLength(c.req, c.req.path === PATHS.log ? MAX_LOG_REQUEST_BYTES : MAX_REQUEST_BYTES);
    await next();
  });
  app.use("/api/*", async (c, next) => {
    const source = sourceKey(c.env.incoming?.socket.remoteAddress ?? "");
    if (!limiter.take(source, moment().now)) {
      c.header("retry-after", "1");
      throw new MeshError("rate-limited", "Cannot answer: too many requests from this address", {
        hint: "Wait a second and try again",
      });
    }
    await next();
  });

  addPublicRoutes(app, options);
  app.post(PATHS.challenge, async (c) => {
    const request = parseJson(ChallengeRequest, await c.req.text(), "request for a challenge");
    return c.json(service.challenge(request, moment()));
  });
  addRegisterRoute(app, options);
  app.delete(`${PATHS.nodes}/:id`, async (c) => {
    const id = PeerId.safeParse(c.req.param("id"));
    if (!id.success) throw new MeshError("peer-unknown", "Cannot find the node: malformed id");
    const envelope = await envelopeOf(c);
    const { reply } = changing(() => service.leave(id.data, envelope, moment()));
    log("info", "Left", { id: id.data });
    return c.json(reply);
  });
  addLogRoutes(app, options);
  return app;
}

/** Membership: what a machine asks for once, and its certificates. */
function addRegisterRoute(app: Hono<Env>, options: AppOptions): void {
  const { service, ca, log, moment, publish, turnstile } = options;
  const changing = changeTeller(publish);
  app.post(PATHS.register, async (c) => {
    const envelope = await envelopeOf(c);
    const answer = changing(() => {
      try {
        return service.register(envelope, moment());
      } finally {
        turnstile.leave(senderOf(envelope));
      }
    });
    const registration = answer.reply;
    const reply: RegisterReply = { ...registration, caCertificate: ca.certificate };
    if (answer.tlsPublicKey !== null) {
      reply.certificate = await ca.issue(registration, answer.tlsPublicKey, moment().wallTime);
    }
    if (answer.coordinator !== null) {
      const { hosts, tlsPublicKey } = answer.coordinator;
      const { wallTime } = moment();
      reply.coordinatorCertificate = await ca.certifyCoordinator(hosts, tlsPublicKey, wallTime);
    }
    log("info", "Registered", { name: reply.name, id: reply.id });
    return c.json(reply);
  });
}

/** The mesh's log, for those who are in the mesh or invited to it. */
function addLogRoutes(app: Hono<Env>, options: AppOptions): void {
  const { service, log, moment, publish, turnstile } = options;
  app.post(PATHS.logRead, async (c) => {
    const { identity, joins, read } = service.readLog(await envelopeOf(c), moment());
    if (joins) await turnstile.enter(identity);
    return c.json(read(moment()));
  });
  app.post(PATHS.log, async (c) => {
    const text = await c.req.text();
    const envelope = parseJson(LogEnvelope, text, "signed request", MAX_LOG_REQUEST_BYTES);
    const reply = service.appendLog(envelope, moment());
    publish([]);
    log("info", "Entries were added to the mesh's log", { seq: reply.seq });
    return c.json(reply);
  });
}

/**
 * Runs what changes the mesh and tells the hub. A registration that is refused may have been
 * admitted by then, which nodes have to hear of as well.
 */
function changeTeller(publish: AppOptions["publish"]) {
  return <T extends Answer<unknown>>(change: () => T): T => {
    let events: readonly ModelEvent[] = [];
    try {
      const answer = change();
      events = answer.events;
      return answer;
    } finally {
      publish(events);
    }
  };
}

/** What needs no signature. */
function addPublicRoutes(app: Hono<Env>, { service, ca, version, moment }: AppOptions): void {
  app.get(PATHS.health, (c) => {
    const { meshId } = service.state;
    const health: Health = { status: "ok", version, meshId, time: moment().wallTime };
    return c.json(health);
  });
  app.get(PATHS.caCertificate, (c) => {
    return c.body(ca.certificate, 200, { "content-type": "application/x-pem-file" });
  });
}

/** Refuses bodies that are too long, or that do not say how long they are, before reading them. */
function checkLength(request: HonoRequest, max: number): void {
  const { method } = request;
  const length = request.header("content-length");
  const isBodiless = method === "GET" || method === "HEAD";
  const bytes = length === undefined && isBodiless ? 0 : Number(length ?? NaN);
  if (Number.isNaN(bytes)) {
    throw new MeshError("protocol-invalid", "Cannot read request: it does not say how long it is");
  }
  if (bytes <= (isBodiless ? 0 : max)) return;
  throw new MeshError("request-too-large", `Cannot read request: ${bytes} bytes are announced`);
}

/** Who says to have sent it, which need not be true. */
function senderOf({ body }: Envelope): string {
  return /"identity":"([A-Za-z0-9_-]{43})"/.exec(body)?.[1] ?? "";
}

async function envelopeOf(c: Context<Env>): Promise<Envelope> {
  return parseJson(Envelope, await c.req.text(), "signed request");
}

/** Answers a failure. Only a {@link MeshError}'s text may leave; anything else is a bug of ours. */
function problem(error: unknown, c: Context<Env>, log: Log): Response {
  if (!(error instanceof MeshError)) {
    const isTheirs = c.req.raw.signal.aborted;
    const level = isTheirs ? "debug" : "error";
    log(level, "Request failed", { path: c.req.path, why: errorMessage(error) });
  }
  const known = error instanceof MeshError
    ? error
    : new MeshError("internal", "Cannot answer: internal error");
  const status = ERRORS[known.code].http as ContentfulStatusCode;
  const body = {
    type: `urn:tunnelmesh:error:${known.code}`,
    title: known.message,
    status,
    ...(known.hint ? { detail: known.hint } : {}),
  };
  return c.json(body, status, { "content-type": "application/problem+json" });
}
