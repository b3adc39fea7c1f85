/**
 * A control hub with members, driven by hand: each message and each moment is the test's.
 * @module
 */
import assert from "node:assert/strict";
import { toBase64Url } from "../core/bytes.ts";
import { controlBytes } from "../core/control/envelope.ts";
import type { NodeMessage, ServerMessage } from "../core/control/messages.ts";
import { type ErrorCode, ERRORS } from "../core/errors.ts";
import { type Identity, sign } from "../core/identity/keys.ts";
import { type NodeFacts, signNodeRecord } from "../core/identity/record.ts";
import { SeededRandom } from "../core/random.ts";
import { World } from "./coordinator_world.ts";
import { EPOCH, identityOf } from "./mesh_fixture.ts";
import { ControlHub, FLUSH_MS, type HubEffect } from "../coordinator/model/control_hub.ts";
import type { Registration } from "../coordinator/model/service.ts";

/** Where members connect from. */
export const REMOTE = "198.51.100.7";

/** A hub with members, driven by hand. */
export class Rig {
  readonly world = new World();
  readonly hub: ControlHub;
  readonly members: Registration[] = [];
  now = 0;
  /** What each connection got since it was last asked. */
  readonly #sent = new Map<number, ServerMessage[]>();
  readonly closed = new Set<number>();
  readonly told: HubEffect[] = [];

  constructor(count = 2, publicIps: string[] = []) {
    const { registry, mesh } = this.world;
    this.hub = new ControlHub({ registry, mesh, random: new SeededRandom(9), publicIps });
    const token = this.world.token();
    for (let n = 0; n < count; n++) {
      this.members.push(this.world.register(identityOf(n), { name: `n${n}` }, token));
    }
  }

  #perform(effects: ReturnType<ControlHub["handle"]>): void {
    for (const effect of effects) {
      if (effect.type === "gone" || effect.type === "alert") this.told.push(effect);
      else if (effect.type === "close") this.closed.add(effect.connection);
      else this.#sent.set(effect.connection, [...this.gotAll(effect.connection), effect.message]);
    }
  }

  /** What it got, but for the talk about the mesh's log. */
  got(connection: number): ServerMessage[] {
    return this.gotAll(connection).filter(({ type }) => type !== "log");
  }

  gotAll(connection: number): ServerMessage[] {
    const messages = this.#sent.get(connection) ?? [];
    this.#sent.delete(connection);
    return messages;
  }

  connect(connection: number, remote = REMOTE): string {
    const wallTime = EPOCH + this.now;
    this.#perform(this.hub.handle({ type: "connect", connection, remote, wallTime }, this.now));
    const [challenge] = this.got(connection);
    assert.ok(challenge?.type === "challenge");
    return challenge.nonce;
  }

  say(connection: number, message: NodeMessage | string): void {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    const wallTime = EPOCH + this.now;
    this.#perform(this.hub.handle({ type: "message", connection, text, wallTime }, this.now));
  }

  /** The model or the mesh's log changed by a request. */
  changed(): void {
    const wallTime = EPOCH + this.now;
    this.#perform(this.hub.handle({ type: "changed", events: [], wallTime }, this.now));
  }

  close(connection: number): void {
    const wallTime = EPOCH + this.now;
    this.#perform(this.hub.handle({ type: "close", connection, wallTime }, this.now));
  }

  advance(ms: number): void {
    const end = this.now + ms;
    while (this.hub.deadline <= end) {
      this.now = Math.max(this.now, this.hub.deadline);
      const wallTime = EPOCH + this.now;
      this.#perform(this.hub.handle({ type: "tick", wallTime }, this.now));
    }
    this.now = end;
  }

  hello(n: number, nonce: string, over: Partial<NodeMessage> = {}, signer = identityOf(n)) {
    return {
      type: "hello",
      identity: toBase64Url(identityOf(n).publicKey),
      signature: toBase64Url(sign(signer, controlBytes(nonce))),
      record: this.record(n),
      endpoints: [`192.0.2.${n + 1}:51820`],
      udpPort: 51820,
      bootId: "boot",
      version: "test",
      ...over,
    } as NodeMessage;
  }

  record(n: number, over: Partial<NodeFacts> = {}, signer: Identity = identityOf(n)) {
    const { name, addresses, aliases, meshId } = this.members[n]!;
    const facts = { name, addresses: [...addresses], aliases, meshId, seq: 0, ...over };
    return signNodeRecord(signer, facts);
  }

  /** Connects a member and throws away what it was told so far. */
  join(n: number, connection: number, over: Partial<NodeMessage> = {}): void {
    this.say(connection, this.hello(n, this.connect(connection), over));
    this.advance(FLUSH_MS);
    assert.equal(this.got(connection)[0]?.type, "netmap");
  }
}

/** Asserts that the connection was told no, and why, and was closed. */
export function assertRefused(rig: Rig, connection: number, code: ErrorCode): void {
  const last = rig.got(connection).at(-1);
  assert.ok(last?.type === "refused" && last.code === code, JSON.stringify(last));
  assert.ok(code in ERRORS);
  assert.ok(rig.closed.has(connection));
}
