/**
 * Does the mesh have the policy that a folder holds? One look at both, and what follows from it.
 *
 * The folder is the truth when it changes: what is new in it is checked, tested and applied, also
 * over somebody's edit by hand. When the folder is as it was and the mesh is not, somebody applied
 * another policy by hand: that is drift, told and left alone, for it may be an emergency, unless the
 * watch enforces the folder. After a restart, a folder that the mesh has had before is drift too.
 * @module
 */
import type { MeshReport } from "../core/daemon/mesh_report.ts";
import { type ErrorCode, errorMessage, ERRORS, MeshError } from "../core/errors.ts";
import { formatCheck } from "../core/policy/check.ts";
import type { Identity } from "../core/identity/keys.ts";
import { policyHash } from "../core/state/bodies.ts";
import type { ControlClient } from "./control_client.ts";
import { proposePolicy, SHORT_HASH, stateProposal } from "./policy_change.ts";
import { documentsOf, type PolicyText } from "./policy_files.ts";
import { policyVersions } from "./policy_history.ts";
import { appliedPolicy, parseTexts } from "./policy_world.ts";
import { unifiedDiff } from "./text_diff.ts";

/** What a look found, and did. */
export type WatchEvent =
  | { readonly type: "in-sync"; readonly hash: string }
  | {
    readonly type: "applied";
    readonly hash: string;
    readonly seq: number;
    readonly changes: readonly string[];
  }
  | { readonly type: "invalid"; readonly problems: readonly string[] }
  | { readonly type: "unfit"; readonly hash: string; readonly failures: readonly string[] }
  | {
    readonly type: "drift";
    /** Of the folder, and of what holds. */
    readonly hash: string;
    readonly applied: string | null;
    readonly seq: number | null;
    readonly by: string | null;
    /** From the folder to what holds. */
    readonly diff: readonly string[];
  }
  | {
    readonly type: "error";
    readonly code: ErrorCode;
    readonly message: string;
    readonly hint: string | null;
  };

const STATUS: Readonly<Record<Exclude<WatchEvent["type"], "error">, number>> = {
  "in-sync": 0,
  "applied": 0,
  "unfit": 1,
  "invalid": 2,
  "drift": 5,
};

/** Exit status of a watch that ends with such an event. */
export function statusOf(event: WatchEvent): number {
  return event.type === "error" ? ERRORS[event.code].exit : STATUS[event.type];
}

export interface WatchOptions {
  /** Reads the folder; what it throws is an event. */
  readonly readTexts: () => readonly PolicyText[];
  readonly signer: Identity | null;
  /** Undo what was applied by hand. */
  readonly enforce: boolean;
}

/** A folder and a mesh, looked at again and again. */
export class PolicyWatch {
  readonly #options: WatchOptions;
  /** Hash of the folder when mesh and folder agreed last. */
  #agreed: string | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Hash of what the folder holds; null when it cannot be read. */
  fingerprint(): string | null {
    try {
      return policyHash(documentsOf(this.#options.readTexts()));
    } catch {
      return null;
    }
  }

  /** Looks once and applies what is to be applied; never throws. */
  async look(client: ControlClient): Promise<WatchEvent> {
    try {
      const texts = this.#options.readTexts();
      const parsed = parseTexts(texts);
      if (parsed.policy === null) return { type: "invalid", problems: parsed.problems };
      const mesh = await client.mesh();
      const hash = policyHash(documentsOf(texts));
      if (mesh.policy?.hash === hash) {
        this.#agreed = hash;
        return { type: "in-sync", hash };
      }
      const isDrift = !this.#options.enforce && await this.#isDrift(hash, client);
      if (isDrift) return driftOf(texts, hash, mesh);
      const proposal = proposePolicy(mesh, appliedPolicy(mesh), texts, parsed.policy);
      if (!proposal.check.isFit) {
        return { type: "unfit", hash, failures: formatCheck(proposal.check).split("\n") };
      }
      const { signer } = this.#options;
      const { seq } = await stateProposal(proposal, { client, meshId: mesh.meshId, signer });
      this.#agreed = hash;
      return { type: "applied", hash, seq, changes: proposal.changes };
    } catch (error) {
      const { code, hint } = error instanceof MeshError
        ? error
        : { code: "internal" as const, hint: undefined };
      return { type: "error", code, message: errorMessage(error), hint: hint ?? null };
    }
  }

  /** Whether the mesh left the folder behind, and not the folder the mesh. */
  async #isDrift(hash: string, client: ControlClient): Promise<boolean> {
    if (this.#agreed !== null) return this.#agreed === hash;
    return policyVersions(await client.meshLog()).some((version) => version.hash === hash);
  }
}

/** What people are told of an event. */
export function eventLines(event: WatchEvent): string[] {
  const indented = (lines: readonly string[]) => lines.map((line) => `  ${line}`);
  switch (event.type) {
    case "in-sync":
      return [`in sync: the mesh has policy ${event.hash.slice(0, SHORT_HASH)} of the folder`];
    case "applied":
      return [
        `applied ${event.hash.slice(0, SHORT_HASH)}, entry ${event.seq}`,
        ...indented(event.changes),
      ];
    case "invalid":
      return ["wrong, nothing was changed:", ...indented(event.problems)];
    case "unfit":
      return ["a test fails, nothing was changed:", ...indented(event.failures)];
    case "drift": {
      const { applied, by, seq, diff } = event;
      const what = applied === null
        ? "the mesh has no policy of its own"
        : `${by} applied ${applied.slice(0, SHORT_HASH)} by hand, entry ${seq}`;
      return [
        `drift: ${what}`,
        ...indented(diff),
        "  commit that change to the folder, or put the folder back with --enforce",
      ];
    }
    case "error":
      return [`error: ${event.message}`, ...event.hint === null ? [] : [`  hint: ${event.hint}`]];
  }
}

function driftOf(texts: readonly PolicyText[], hash: string, mesh: MeshReport): WatchEvent {
  const { policy } = mesh;
  const held = policy?.documents ?? [];
  const files = [...new Set([...texts, ...held].map(({ file }) => file))].sort();
  const textIn = (list: readonly { file: string; text: string }[], name: string) =>
    list.find(({ file }) => file === name)?.text ?? null;
  return {
    type: "drift",
    hash,
    applied: policy?.hash ?? null,
    seq: policy?.seq ?? null,
    by: policy?.by ?? null,
    diff: files.flatMap((file) => unifiedDiff(file, textIn(texts, file), textIn(held, file))),
  };
}
