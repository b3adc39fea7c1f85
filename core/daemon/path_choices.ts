/**
 * Which kinds of path are to be used for a peer? Three may say so, the last one in this table that
 * does is followed:
 *
 * | who | how long |
 * | --- | --- |
 * | the configuration, for all peers or for one by name | as long as it says so |
 * | an admin, by the mesh's log | until it is withdrawn |
 * | a user of this machine (`tunnelmesh transport`) | until it is reset, or the node ends |
 * @module
 */
import type { PeerId } from "../ids.ts";
import type { NodePeer } from "../node_peer.ts";
import type { PathPreference } from "../path/peer_paths.ts";
import { type MeshState, transportKey } from "../state/state.ts";

export interface PathChoicesOptions {
  readonly own: PeerId;
  readonly state: () => MeshState;
  /** For peers that nobody names. */
  readonly usual: PathPreference;
  readonly configured: readonly ({ readonly name: string } & PathPreference)[];
}

/** See the module's doc. */
export class PathChoices {
  readonly #options: PathChoicesOptions;
  readonly #chosen = new Map<string, PathPreference>();

  constructor(options: PathChoicesOptions) {
    this.#options = options;
  }

  /** A user of this machine chooses; null takes that back. */
  choose(peer: NodePeer, preference: PathPreference | null): void {
    if (preference) this.#chosen.set(nameOf(peer), preference);
    else this.#chosen.delete(nameOf(peer));
  }

  /** What holds for a peer. */
  of(peer: NodePeer): PathPreference {
    const { own, state, usual, configured } = this.#options;
    const chosen = this.#chosen.get(nameOf(peer));
    if (chosen) return chosen;
    const set = peer.id && state().transports.get(transportKey(own, peer.id))?.preference;
    if (set) return set;
    return configured.find(({ name }) => name === peer.name) ?? usual;
  }
}

function nameOf({ id, name }: NodePeer): string {
  return id ?? `wireguard:${name}`;
}
