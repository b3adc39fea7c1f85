/**
 * Which records does a follower believe? It registers nobody: names and addresses are what members
 * themselves state, and are judged as every node judges them.
 *
 * Two members that claim the same name or address cannot both be adopted, whatever the order in
 * which their records come; the first holds it until it gives it up.
 * @module
 */
import type { PeerEntry } from "../../core/control/messages.ts";
import { type RecordVerifier, type Refusal, Roster } from "../../core/control/roster.ts";
import { MeshError } from "../../core/errors.ts";
import type { SignedRecord } from "../../core/identity/record.ts";
import type { PeerId } from "../../core/ids.ts";
import type { ModelEvent } from "./apply.ts";
import type { Mesh } from "./mesh.ts";
import type { Registry } from "./registry.ts";

type Adoptable = Pick<PeerEntry, "record" | "online" | "lastSeen">;

/** See the module's doc. */
export class Adoption {
  readonly #registry: Registry;
  readonly #roster: Roster;

  constructor(registry: Registry, mesh: Mesh, verifier?: RecordVerifier) {
    this.#registry = registry;
    const { meshId, cidr4, prefix6, nodes } = registry.state;
    this.#roster = new Roster({
      meshId,
      cidr4,
      prefix6,
      isMember: (id) => mesh.isMember(id),
      ...(verifier ? { verifier } : {}),
    });
    for (const { record } of nodes.values()) if (record) this.#roster.accept(record, Infinity);
  }

  /**
   * Takes a record that its node brings.
   * @throws {MeshError} "record-invalid", "peer-unknown"
   */
  take(record: SignedRecord, wallTime: number): readonly ModelEvent[] {
    const outcome = this.#adopt({ record, online: true, lastSeen: wallTime }, wallTime);
    if (outcome.refusal === null) return outcome.events;
    const { reason, detail } = outcome.refusal;
    const code = reason === "not-member" ? "peer-unknown" : "record-invalid";
    throw new MeshError(code, `Cannot accept record: ${detail}`);
  }

  /** Takes what can be believed of many; one that waits for another's name gets a second try. */
  takeAll(all: readonly Adoptable[], wallTime: number): readonly ModelEvent[] {
    const events: ModelEvent[] = [];
    let pending = all;
    for (let round = 0; round < 2; round++) {
      pending = pending.filter((each) => {
        const outcome = this.#adopt(each, wallTime);
        events.push(...outcome.events);
        return outcome.refusal !== null;
      });
    }
    return events;
  }

  /** Frees what somebody held who is no member any more. */
  release(id: PeerId): void {
    this.#roster.release(id);
  }

  #adopt(
    { record: signed, online, lastSeen }: Adoptable,
    at: number,
  ): { readonly events: readonly ModelEvent[]; readonly refusal: Refusal | null } {
    const verdict = this.#roster.accept(signed, online ? Infinity : lastSeen);
    if (!verdict.ok) return { events: [], refusal: verdict.refusal };
    const { id, left } = verdict.record;
    if (left && !this.#registry.state.nodes.has(id)) return { events: [], refusal: null };
    const seenAt = online ? at : Math.min(at, Math.floor(lastSeen));
    const command = left
      ? { type: "leave", at, id, record: signed } as const
      : { type: "adopt", at, record: signed, seenAt } as const;
    const events = [...this.#registry.execute(command)];
    if (!left) this.#registry.execute({ type: "seen", at: seenAt, id });
    return { events, refusal: null };
  }
}
