/**
 * What a simulated machine knows of its mesh by the signed log, and what it states there: the
 * wiring of the daemon (`core/daemon/open_node.ts`, `mesh_admin.ts`) over virtual time.
 * @module
 */
import type { IsMember } from "../../core/control/roster.ts";
import { MAX_NODE_LOG_LENGTH } from "../../core/control/messages.ts";
import type { NetmapView } from "../../core/control/netmap.ts";
import { MeshPolicy } from "../../core/daemon/mesh_policy.ts";
import { readPolicy } from "../../core/daemon/read_policy.ts";
import type { FilterRule } from "../../core/filter/rules.ts";
import type { Identity } from "../../core/identity/keys.ts";
import type { Body } from "../../core/state/bodies.ts";
import type { SignedEntry, VerifiedEntry } from "../../core/state/entry.ts";
import { expiryOf } from "../../core/state/expiry.ts";
import { headSigner } from "../../core/state/head.ts";
import { type MeshLog, signAll } from "../../core/state/log.ts";
import { LogSync } from "../../core/state/sync.ts";
import type { LogDisk } from "./log_disk.ts";

export interface HostMeshOptions {
  readonly disk: LogDisk;
  readonly meshId: string;
  readonly identity: Identity;
  readonly wallTime: () => number;
}

/** The log of one run of a machine. */
export class HostMesh {
  readonly log: MeshLog;
  readonly sync: LogSync;
  readonly #options: HostMeshOptions;
  #policy: MeshPolicy | null = null;

  constructor(options: HostMeshOptions) {
    this.#options = options;
    const { disk, meshId, identity, wallTime } = options;
    this.log = disk.open(meshId);
    this.sync = new LogSync({
      log: this.log,
      sign: headSigner(identity, meshId, wallTime),
      maxLength: MAX_NODE_LOG_LENGTH,
    });
  }

  /** Whether the log has a node as a member that was not away for too long. */
  readonly isMember: IsMember = (id, lastSeen) => {
    const member = this.log.state.nodes.get(id);
    return member !== undefined &&
      expiryOf(member, lastSeen, this.#options.wallTime()).state !== "expired";
  };

  /** The policy in force here. */
  get policy(): MeshPolicy {
    return this.#policy!;
  }

  /** Follows the policy from here on. */
  enforce(view: NetmapView, publish: (rules: readonly FilterRule[] | null) => void): void {
    const own = this.#options.identity.peerId;
    const load = () => Promise.resolve(readPolicy);
    const tell = () => {};
    this.#policy = new MeshPolicy({
      own,
      log: this.log,
      view,
      load,
      read: readPolicy,
      publish,
      tell,
    });
  }

  /** Keeps entries that came. */
  keep(entries: readonly VerifiedEntry[]): void {
    this.#options.disk.append(entries.map(({ signed }) => signed));
  }

  /** Signs with this machine's identity what would follow. @throws {MeshError} */
  sign(bodies: readonly Body[]): SignedEntry[] {
    return signAll(this.log, this.#options.identity, bodies, this.#options.wallTime());
  }
}
