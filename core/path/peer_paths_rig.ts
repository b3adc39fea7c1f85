/**
 * The paths of one peer on a network that answers pings as a test says, for tests: time goes from
 * deadline to deadline.
 * @module
 */
import { type Millis, NEVER } from "../machine.ts";
import { SeededRandom, unit } from "../random.ts";
import type { PathAddress } from "./address.ts";
import { ponged } from "./path.ts";
import { type PeerEffect, PeerPaths } from "./peer_paths.ts";

/** Paths of every kind. */
export const A = "192.0.2.1:51820";
export const B = "[2001:db8::1]:51820";
export const SSH = "ssh";
export const NODE = "node:0123456789abcdef";
export const RELAY = "relay:mesh.example.com:8443";
/** The largest IP packet that would be sent. */
export const WANTED = 1480;
/** More turns at one moment than any number of paths explains. */
const MAX_TURNS = 500;

/** What the network makes of a ping on a path: an answer after so long, or none. */
export type Network = Record<PathAddress, () => Millis | null>;
type Use = PeerEffect & { type: "use" };

/** One peer whose pings are answered as the network lets them; time goes from deadline to deadline. */
export class Rig {
  readonly peer = new PeerPaths();
  readonly uses: (Use & { readonly at: Millis })[] = [];
  readonly pings: { readonly path: PathAddress; readonly at: Millis }[] = [];
  now: Millis = 1_000;
  /** How often there is traffic. */
  trafficEvery: Millis | null = 500;
  readonly #network: Network;
  #flights: { readonly at: Millis; readonly path: PathAddress; readonly number: number }[] = [];
  #number = 0;

  constructor(network: Network) {
    this.#network = network;
    this.peer.hasSession = true;
    for (const address of Object.keys(network)) this.peer.at(address, false, this.now);
  }

  run(duration: Millis): this {
    const end = this.now + duration;
    let trafficAt = this.trafficEvery === null ? NEVER : this.now;
    for (let turns = 0; turns < MAX_TURNS;) {
      const flightAt = Math.min(...this.#flights.map(({ at }) => at), NEVER);
      const next = Math.min(trafficAt, flightAt, this.peer.deadline(this.now));
      if (next > end) {
        this.now = end;
        return this;
      }
      turns = next > this.now ? 0 : turns + 1;
      this.now = Math.max(this.now, next);
      if (this.now >= trafficAt) {
        this.peer.traffic(this.now);
        trafficAt = this.now + this.trafficEvery!;
      }
      this.#arrive();
      this.tick();
    }
    throw new Error(`the deadline stands still at ${this.now}`);
  }

  tick(): void {
    const effects = this.peer.tick(() => ++this.#number, this.now);
    for (const effect of effects) {
      if (effect.type === "use") this.uses.push({ ...effect, at: this.now });
      else this.#ping(effect.path, effect.number!);
    }
    this.#check(effects);
  }

  /** Paths that were used, in order. */
  get used(): PathAddress[] {
    const paths = this.uses.map(({ path }) => path);
    return paths.filter((path, i) => path !== paths[i - 1]);
  }

  pingsOf(path: PathAddress): number {
    return this.pings.filter((ping) => ping.path === path).length;
  }

  /** What holds after every tick. */
  #check(effects: readonly PeerEffect[]): void {
    const { current, standby, paths } = this.peer;
    const isKnown = [current, standby].every((path) => path === null || paths.has(path));
    const isOnce = effects.filter(({ type }) => type === "use").length <= 1;
    if (isKnown && isOnce && (current === null || current !== standby)) return;
    throw new Error(`uses ${current} and ${standby} at ${this.now}`);
  }

  #ping(path: PathAddress, number: number): void {
    this.pings.push({ path, at: this.now });
    const rttMs = this.#network[path]?.() ?? null;
    if (rttMs !== null) this.#flights.push({ at: this.now + rttMs, path, number });
  }

  #arrive(): void {
    const due = this.#flights.filter(({ at }) => at <= this.now);
    this.#flights = this.#flights.filter(({ at }) => at > this.now);
    for (const { path, number } of due) {
      const known = this.peer.at(path, true, this.now);
      if (known) ponged(known, number, WANTED, this.now);
    }
  }
}

/** A path that loses that share of what is sent. */
export function lossy(rttMs: Millis, loss: number, seed = 1): () => Millis | null {
  const random = new SeededRandom(seed);
  return () => unit(random) < loss ? null : rttMs;
}
