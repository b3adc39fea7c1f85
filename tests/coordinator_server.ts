/**
 * A real coordinator on loopback and what speaks to it: the fixture of the HTTP tests.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  type Coordinator,
  type CoordinatorOptions,
  createCoordinator,
} from "../coordinator/mod.ts";
import { ControlClient, type ControlEffect, type ControlEvent } from "../core/control/client.ts";
import { PATHS } from "../core/control/envelope.ts";
import { toBase64Url } from "../core/bytes.ts";
import { ControlChannel } from "../core/daemon/control_channel.ts";
import {
  callCoordinator,
  readLog,
  register,
  type Registration,
  type SignedCall,
} from "../core/daemon/registration.ts";
import { membershipOf } from "../core/daemon/membership.ts";
import { MAX_NODE_LOG_LENGTH } from "../core/control/messages.ts";
import { StateDir } from "../core/daemon/state_dir.ts";
import { systemRandom } from "../core/daemon/system_random.ts";
import { type HttpAnswer, request, tlsOptions } from "../core/daemon/tls_pin.ts";
import { type ErrorCode, MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { signNodeRecord } from "../core/identity/record.ts";
import { decodeToken, encodeToken, TOKEN_SECRET_BYTES } from "../core/identity/token.ts";
import { NEVER } from "../core/machine.ts";
import { NodeLog, type NodeLogEffect } from "../core/node_log.ts";
import type { SignedEntry } from "../core/state/entry.ts";
import type { MeshLog } from "../core/state/log.ts";
import {
  ADMIN,
  ADMIN_NAME,
  copyOf,
  membership,
  syncOf,
  type TokenLimits,
  tokenMade,
} from "./mesh_fixture.ts";

function openAt(
  dir: string,
  port: number,
  over: Partial<CoordinatorOptions>,
): Promise<Coordinator> {
  return createCoordinator({
    dataDir: `${dir}/coordinator`,
    listen: { hostname: "127.0.0.1", port },
    publicHosts: ["127.0.0.1", "localhost"],
    version: "test",
    log: () => {},
    ...over,
  });
}

/** A coordinator in a temporary directory, restartable. */
export class TestServer implements AsyncDisposable {
  readonly dir: string;
  coordinator: Coordinator;
  /** The mesh's log as its admin has it, level with the coordinator's after each statement. */
  log: MeshLog | null = null;
  #port: number;
  #caPin: Uint8Array = new Uint8Array();
  #admin: Registration | null = null;

  private constructor(dir: string, coordinator: Coordinator) {
    this.dir = dir;
    this.coordinator = coordinator;
    this.#port = coordinator.port;
  }

  /** A mesh whose first node is {@link ADMIN}'s, with the address 172.30.0.1. */
  static async start(over: Partial<CoordinatorOptions> = {}): Promise<TestServer> {
    const server = await TestServer.startNew(over);
    const token = server.coordinator.firstToken("node")!;
    server.#caPin = decodeToken(token).caPin;
    server.#admin = await server.register(ADMIN, { token, name: "anna-pc" });
    await server.follow();
    return server;
  }

  /** A mesh that nobody has joined. */
  static async startNew(over: Partial<CoordinatorOptions> = {}): Promise<TestServer> {
    const dir = await Deno.makeTempDir();
    return new TestServer(dir, await openAt(dir, 0, over));
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** The pinned CA as the coordinator keeps it. */
  get ca(): string {
    return readFileSync(`${this.dir}/coordinator/ca.crt`, "utf8");
  }

  /** A join token that the admin made. */
  async token(limits: TokenLimits = {}): Promise<string> {
    const secret = systemRandom.bytes(TOKEN_SECRET_BYTES);
    await this.state((log) => tokenMade(log, secret, limits, { at: Date.now() }));
    return this.tokenOf(secret);
  }

  /** The token of a secret. */
  tokenOf(secret: Uint8Array): string {
    return encodeToken({ caPin: this.#caPin, meshId: this.coordinator.meshId, secret });
  }

  /** Has the admin state what `say` appends to a log. */
  async state(say: (log: MeshLog) => unknown): Promise<void> {
    const log = await this.follow();
    const trial = copyOf(log);
    say(trial);
    await this.append(ADMIN, trial.since(log.head.seq + 1).map(({ signed }) => signed));
    await this.follow();
  }

  /** Brings entries, as a member. */
  async append(identity: Identity, entries: readonly SignedEntry[]): Promise<void> {
    await this.call(identity, { method: "POST", path: PATHS.log, body: { entries } });
  }

  /** A signed call. */
  call(identity: Identity, call: SignedCall): Promise<unknown> {
    const coordinator = { urls: [this.url], caCertificate: this.ca };
    const membership = membershipOf(identity, coordinator, this.#admin!.reply, null);
    return callCoordinator(membership, identity, call);
  }

  /** Brings the admin's log level with the coordinator's. */
  async follow(): Promise<MeshLog> {
    this.log = await readLog(this.log, this.coordinator.meshId, (from) => {
      return this.call(ADMIN, { method: "POST", path: PATHS.logRead, body: { from } });
    });
    return this.log;
  }

  /** Starts again on the same port over the same data, after `whileDown`. */
  async restart(
    over: Partial<CoordinatorOptions> = {},
    whileDown: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    await this.coordinator.close();
    await whileDown();
    this.coordinator = await openAt(this.dir, this.#port, over);
  }

  /** One request, trusting the mesh's CA. */
  fetch(method: string, path: string, body?: unknown): Promise<HttpAnswer> {
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return request(this.url + path, {
      method,
      ...(text === undefined ? {} : { body: text }),
      tls: tlsOptions(this.ca),
    });
  }

  /** A challenge for `identity`. */
  async challenge(identity: Identity): Promise<string> {
    const text = toBase64Url(identity.publicKey);
    const { status, body } = await this.fetch("POST", PATHS.challenge, { identity: text });
    assert.equal(status, 200, body);
    return JSON.parse(body).challenge;
  }

  /** Registers as the daemon does. */
  async register(
    identity: Identity,
    over: {
      token?: string;
      name?: string;
      aliases?: string[];
      url?: string;
      userName?: string;
      meshId?: string;
    } = {},
  ): Promise<Registration> {
    const state = await StateDir.open(`${this.dir}/${identity.peerId}`);
    return await register({
      urls: [over.url ?? this.url],
      identity,
      token: over.token === undefined ? null : decodeToken(over.token),
      caCertificate: this.ca,
      name: over.name ?? "node",
      aliases: over.aliases ?? [],
      meshId: over.meshId ?? null,
      userName: over.userName ?? ADMIN_NAME,
      wallTime: Date.now,
      version: "test",
      state,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.coordinator.close();
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** A node's control connection: the machine, its sockets and a timer. */
export class TestNode implements AsyncDisposable {
  readonly client: ControlClient;
  readonly effects: ControlEffect[] = [];
  readonly #channel: ControlChannel;
  readonly #log: NodeLog | null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #waiters: (() => void)[] = [];
  #isClosed = false;

  /** @param log Its own copy of the mesh's log; without one everybody counts as a member. */
  constructor(
    identity: Identity,
    { reply, caCertificate, url }: Registration,
    log: MeshLog | null = null,
  ) {
    const { name, addresses, aliases, meshId, cidr4, prefix6, recordSeq } = reply;
    const facts = { name, addresses: [...addresses], aliases, meshId, seq: recordSeq + 1 };
    this.client = new ControlClient({
      identity,
      urls: [url.replace("https:", "wss:") + PATHS.control],
      facts: { meshId, cidr4, prefix6 },
      isMember: log ? membership(log, Date.now) : () => true,
      record: signNodeRecord(identity, facts),
      endpoints: ["192.0.2.1:51820"],
      udpPort: 51820,
      bootId: crypto.randomUUID(),
      version: "test",
      random: systemRandom,
    });
    this.#log = log &&
      new NodeLog(syncOf(log, identity, Date.now, { maxLength: MAX_NODE_LOG_LENGTH }));
    this.#channel = new ControlChannel({
      caCertificate,
      wallTime: Date.now,
      emit: (event) => this.give(event),
    });
    this.give({ type: "tick" });
  }

  /** Hands an event over and performs what comes of it. */
  give(event: ControlEvent): void {
    if (this.#isClosed) return;
    for (const effect of this.client.handle(event, performance.now())) {
      this.effects.push(effect);
      const isSocket = effect.type === "connect" || effect.type === "send" ||
        effect.type === "close";
      if (isSocket) this.#channel.perform(effect);
      this.#follow(this.#log?.control(effect, performance.now()) ?? []);
    }
    clearTimeout(this.#timer);
    const { deadline } = this.client;
    if (deadline !== NEVER) {
      const delay = Math.max(0, deadline - performance.now());
      this.#timer = setTimeout(() => this.give({ type: "tick" }), delay);
    }
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #follow(effects: readonly NodeLogEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "say") {
        this.give({ type: "send-log", text: effect.text });
      } else if (effect.type === "grown") this.give({ type: "review" });
    }
  }

  /** Waits until `isTrue`; fails after `withinMs`. Returns the milliseconds that it took. */
  async until(isTrue: () => boolean, what: string, withinMs = 5000): Promise<number> {
    const start = performance.now();
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, withinMs);
    while (!isTrue()) {
      if (performance.now() - start >= withinMs) {
        assert.fail(`${what}: not within ${withinMs} ms, ${JSON.stringify(this.client.report)}`);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiters.push(resolve);
      await Promise.race([promise, late.promise]);
    }
    clearTimeout(timer);
    return performance.now() - start;
  }

  connected(withinMs?: number): Promise<number> {
    return this.until(() => this.client.report.state === "connected", "connected", withinMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#channel.close();
  }
}

/** Asserts that `run` fails with `code`; returns the error. */
export async function refused(run: Promise<unknown>, code: ErrorCode): Promise<MeshError> {
  try {
    await run;
  } catch (error) {
    assert.ok(error instanceof MeshError, String(error));
    assert.equal(error.code, code, error.message);
    return error;
  }
  assert.fail(`expected "${code}", but it succeeded`);
}
