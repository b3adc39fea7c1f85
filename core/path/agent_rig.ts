/**
 * A path agent with two peers, whose pings are answered as a test says, for tests: time goes from
 * deadline to deadline.
 * @module
 */
import { type Millis, NEVER } from "../machine.ts";
import { kindOf } from "./address.ts";
import { PathAgent, type PathEffect, type PathEvent } from "./agent.ts";
import type { PathMessage } from "./messages.ts";

/** Paths of several kinds. */
export const A = "192.0.2.1:51820";
export const B = "[2001:db8::1]:51820";
export const RELAY = "relay:mesh.example.com:8443";
/** Slots of the peers, and who they are. */
export const PEER = 0;
export const OTHER = 1;
export const IDS = ["00000000000000aa", "00000000000000bb"];
/** More turns at one moment than two peers explain. */
const MAX_TURNS = 1_000;

/** An effect that sends. */
export type Send = PathEffect & { type: "send-path-message" };

/** See the module's doc. */
export class AgentRig {
  readonly agent = new PathAgent({ mtu: 1420, seed: 1 });
  now: Millis = 1_000;
  /** Paths that answer pings, and after how long. */
  readonly answering = new Map<string, Millis>();
  #flights: { readonly at: Millis; readonly send: Send }[] = [];

  constructor() {
    for (const [peer, id] of IDS.entries()) this.tell({ type: "peer-added", peer, id });
  }

  tell(event: PathEvent): PathEffect[] {
    const effects = this.agent.handle(event, this.now);
    for (const effect of effects) {
      const rttMs = effect.type === "send-path-message" && effect.message.type === "ping"
        ? this.answering.get(effect.to)
        : undefined;
      if (rttMs !== undefined) this.#flights.push({ at: this.now + rttMs, send: effect as Send });
    }
    return effects;
  }

  message(from: string, message: PathMessage, peer = PEER): PathEffect[] {
    return this.tell({ type: "message", peer, from, message });
  }

  /** Lets time go by. */
  run(duration: Millis): PathEffect[] {
    const effects: PathEffect[] = [];
    const end = this.now + duration;
    for (let turns = 0; turns < MAX_TURNS;) {
      this.#flights.sort((a, b) => a.at - b.at);
      const next = Math.min(this.#flights[0]?.at ?? NEVER, this.agent.deadline);
      if (next > end) {
        this.now = end;
        return effects;
      }
      turns = next > this.now ? 0 : turns + 1;
      this.now = Math.max(this.now, next);
      const flight = (this.#flights[0]?.at ?? NEVER) <= this.now ? this.#flights.shift() : null;
      effects.push(...flight ? this.#answer(flight.send) : this.tell({ type: "tick" }));
    }
    throw new Error(`the deadline stands still at ${this.now}`);
  }

  /** Traffic each 500 ms. */
  talk(duration: Millis, peer = PEER): PathEffect[] {
    const effects: PathEffect[] = [];
    for (let spent = 0; spent < duration; spent += 500) {
      effects.push(...this.tell({ type: "traffic", peer }), ...this.run(500));
    }
    return effects;
  }

  /** A session over paths that answer. */
  connect(peer: number, paths: Record<string, Millis>): this {
    for (const [path, rttMs] of Object.entries(paths)) {
      this.answering.set(path, rttMs);
      if (kindOf(path) !== "udp") this.link(path, true);
    }
    const endpoints = Object.keys(paths).filter((path) => kindOf(path) === "udp");
    this.tell({ type: "candidates", peer, endpoints });
    this.tell({ type: "session", peer, isUp: true });
    this.run(2_000);
    return this;
  }

  link(path: string, isUp: boolean, peer: number | null = null, why = ""): PathEffect[] {
    return this.tell({ type: "link", path, peer, isUp, why });
  }

  pathsOf(peer = PEER): string[] {
    return [...this.agent.pathsOf(peer)!.paths.keys()];
  }

  #answer({ peer, to, message }: Send): PathEffect[] {
    const { number } = message as PathMessage & { type: "ping" };
    return this.message(to, { type: "pong", number, observed: null }, peer);
  }
}

/** What is sent of a kind of message. */
export function sends(effects: readonly PathEffect[], type: PathMessage["type"]): Send[] {
  return effects.filter((effect): effect is Send =>
    effect.type === "send-path-message" && effect.message.type === type
  );
}

/** Where messages of a kind are sent. */
export function targets(effects: readonly PathEffect[], type: PathMessage["type"]): string[] {
  return sends(effects, type).map(({ to }) => to);
}

/** Paths that are taken. */
export function used(effects: readonly PathEffect[]): string[] {
  return effects.flatMap((effect) => effect.type === "use-path" ? [effect.path] : []);
}
