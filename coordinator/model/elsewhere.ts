/**
 * Who is where, as far as another coordinator knows: what a follower passes on of members that are
 * not connected to itself.
 *
 * It holds while the leading coordinator is there to say so. After that everybody counts as offline
 * until they connect here; where they were last remains, since it may still be right.
 * @module
 */
import type { PeerEntry } from "../../core/control/messages.ts";
import type { PeerId } from "../../core/ids.ts";

/** What is told of one member, without its record. */
export type Told = Omit<PeerEntry, "record">;

/** See the module's doc. */
export class Elsewhere {
  readonly #told = new Map<PeerId, Told>();

  of(id: PeerId): Told | undefined {
    return this.#told.get(id);
  }

  /** Takes what is told of a member; true when that is news. */
  take(id: PeerId, { endpoints, links, online, bootId, lastSeen }: PeerEntry): boolean {
    const told = { endpoints, ...(links ? { links } : {}), online, bootId, lastSeen };
    if (JSON.stringify(told) === JSON.stringify(this.#told.get(id))) return false;
    this.#told.set(id, told);
    return true;
  }

  /** Nobody tells any more; returns whom that takes offline. */
  end(): PeerId[] {
    const online = [...this.#told].filter(([, told]) => told.online);
    for (const [id, told] of online) this.#told.set(id, { ...told, online: false });
    return online.map(([id]) => id);
  }

  forget(id: PeerId): void {
    this.#told.delete(id);
  }
}
