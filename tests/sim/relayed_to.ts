/**
 * Nodes that pass datagrams on, as the simulator has it: inside their own sessions with both ends,
 * which take the time of two trips and work only while each end reaches the node directly.
 * @module
 */
import type { PeerId } from "../../core/ids.ts";
import type { World } from "./world.ts";

/** Takes a datagram: through which node, and from whom. */
type Listener = (relay: PeerId, from: PeerId, bytes: Uint8Array) => void;

/** All nodes that relay, and who listens. */
export class RelayedTo {
  readonly #world: World;
  readonly #listeners = new Map<PeerId, Listener>();
  readonly #relays = new Set<PeerId>();
  /** Whether two nodes reach each other directly. */
  reaches: (a: PeerId, b: PeerId) => boolean = () => true;

  constructor(world: World) {
    this.#world = world;
  }

  /** Makes a node one that relays. */
  add(id: PeerId): void {
    this.#relays.add(id);
  }

  remove(id: PeerId): void {
    this.#relays.delete(id);
  }

  relays(id: PeerId): boolean {
    return this.#relays.has(id);
  }

  listen(id: PeerId, listener: Listener): void {
    this.#listeners.set(id, listener);
  }

  send(from: PeerId, relay: PeerId, to: PeerId, bytes: Uint8Array): void {
    const copy = bytes.slice();
    const isPossible = this.relays(relay) && this.reaches(from, relay) && this.reaches(relay, to);
    if (!isPossible) return;
    this.#world.after(this.#world.between(4, 60), () => {
      if (this.relays(relay)) this.#listeners.get(to)?.(relay, from, copy);
    });
  }
}
