/**
 * The network between machines: it delays, loses, doubles and reorders datagrams, and looks at each.
 * @module
 */
import type { Endpoint } from "../../core/ip.ts";
import type { World } from "./world.ts";

/** Who takes datagrams at an endpoint. */
export type Receiver = (from: Endpoint, bytes: Uint8Array) => void;

/** How the network treats datagrams; may change while it runs. */
export interface Weather {
  /** Milliseconds one way. */
  latency: readonly [low: number, high: number];
  /** Shares in [0, 1]. */
  loss: number;
  duplication: number;
}

/** Datagrams and where they go. */
export class Network {
  readonly weather: Weather = { latency: [1, 20], loss: 0, duplication: 0 };
  /** Every datagram sent, before anything happens to it. */
  onSend: (from: Endpoint, to: Endpoint, bytes: Uint8Array) => void = () => {};
  readonly #world: World;
  readonly #receivers = new Map<Endpoint, Receiver>();
  /** Recent datagrams, for an attacker who repeats them. */
  readonly #overheard: { from: Endpoint; to: Endpoint; bytes: Uint8Array }[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  attach(endpoint: Endpoint, receiver: Receiver): void {
    this.#receivers.set(endpoint, receiver);
  }

  detach(endpoint: Endpoint): void {
    this.#receivers.delete(endpoint);
  }

  /** Sends a datagram; `bytes` are copied. */
  send(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    const copy = bytes.slice();
    this.onSend(from, to, copy);
    this.#overheard.push({ from, to, bytes: copy });
    if (this.#overheard.length > 200) this.#overheard.shift();
    const { loss, duplication } = this.weather;
    const copies = this.#world.chance(duplication) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (!this.#world.chance(loss)) this.#deliver(from, to, copy);
    }
  }

  /** An attacker sends again what it overheard. */
  replay(): void {
    const index = Math.floor(this.#world.between(0, this.#overheard.length));
    const old = this.#overheard[index];
    if (old) this.#deliver(old.from, old.to, old.bytes);
  }

  /** An attacker sends rubbish, at times with the looks of a message. */
  rubbish(to: Endpoint): void {
    const bytes = this.#world.random.bytes(Math.floor(this.#world.between(0, 200)));
    if (bytes.length > 4 && this.#world.chance(0.7)) {
      bytes.set([1 + Math.floor(this.#world.between(0, 4)), 0, 0, 0]);
    }
    this.#deliver("203.0.113.66:6666", to, bytes);
  }

  #deliver(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    const [low, high] = this.weather.latency;
    this.#world.after(this.#world.between(low, high), () => {
      this.#receivers.get(to)?.(from, bytes.slice());
    });
  }
}
