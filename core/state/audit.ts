/**
 * Who changed what in the mesh, when, and how was it before?
 *
 * The log is the audit log; here it is told in lines for people and for other programs. What changed
 * is found by comparing the states before and after an entry, so nothing that an entry causes (a
 * removed user's nodes) can be left out.
 * @module
 */
import { fingerprint } from "../identity/openssh.ts";
import { fromBase64Url } from "../bytes.ts";
import type { Body } from "./bodies.ts";
import type { VerifiedEntry } from "./entry.ts";
import { MeshLog } from "./log.ts";
import { type MeshState, type Policy, userOfKey } from "./state.ts";

/** One thing that an entry changed; null where it did not or does not exist. */
export interface AuditChange {
  /** What, e.g. `user:0123456789abcdef`, `authority:laptop`, `policy`. */
  readonly subject: string;
  readonly before: unknown;
  readonly after: unknown;
}

export interface AuditLine {
  readonly seq: number;
  /** The signer's wall time, milliseconds since 1970. */
  readonly at: number;
  readonly action: Body["type"];
  readonly by: {
    /** The user's name then, or `token ID`, `node ID`, or `unknown`. */
    readonly name: string;
    /** As `ssh-keygen -l` shows it. */
    readonly key: string;
  };
  readonly changes: readonly AuditChange[];
  /** Hash of the entry, so that a line can be checked against the log. */
  readonly hash: string;
}

/** The maps of a state, by what their members are called in lines. */
const PARTS = {
  user: "users",
  node: "nodes",
  authority: "authorities",
  transport: "transports",
  revoked: "revoked",
} as const satisfies Record<string, keyof MeshState>;

/**
 * Tells a whole log.
 * @throws {MeshError} at the first entry that is refused, as `fold` does.
 */
export function* audit(entries: readonly unknown[], meshId: string): Generator<AuditLine> {
  const log = MeshLog.begin(entries[0], meshId);
  yield auditLine(log.entry(0)!, null, log.state);
  for (const signed of entries.slice(1)) {
    const before = log.state;
    yield auditLine(log.append(signed), before, log.state);
  }
}

/**
 * Tells one entry.
 * @param before The state it was applied to; null for the genesis.
 */
export function auditLine(
  verified: VerifiedEntry,
  before: MeshState | null,
  after: MeshState,
): AuditLine {
  const { entry, signer, hash } = verified;
  return {
    seq: entry.seq,
    at: entry.at,
    action: entry.body.type,
    by: {
      name: nameOf(entry.body, signer, before ?? after),
      key: fingerprint(fromBase64Url(signer)),
    },
    changes: changesBetween(before, after),
    hash,
  };
}

/** JSON lines, each with its line break. */
export function formatAudit(lines: Iterable<AuditLine>): string {
  return [...lines].map((line) => JSON.stringify(line) + "\n").join("");
}

/** Everything that is different, in the order of {@link PARTS} and then by name. */
export function changesBetween(before: MeshState | null, after: MeshState): AuditChange[] {
  const changes: AuditChange[] = [];
  for (const [kind, part] of Object.entries(PARTS)) {
    const old: ReadonlyMap<string, unknown> = before?.[part] ?? new Map();
    const next: ReadonlyMap<string, unknown> = after[part];
    if (old === next) continue;
    for (const key of [...new Set([...old.keys(), ...next.keys()])].sort()) {
      if (old.get(key) === next.get(key)) continue;
      const subject = `${kind}:${key}`;
      changes.push({ subject, before: old.get(key) ?? null, after: next.get(key) ?? null });
    }
  }
  if (before?.policy?.hash !== after.policy?.hash) {
    const [old, next] = [summary(before?.policy), summary(after.policy)];
    changes.push({ subject: "policy", before: old, after: next });
  }
  return changes;
}

/** Documents are in the log; a line names them. */
function summary(policy: Policy | null | undefined): unknown {
  if (!policy) return null;
  const files = policy.documents.map(({ file, text }) => ({ file, characters: text.length }));
  return { hash: policy.hash, files };
}

function nameOf(body: Body, signer: string, state: MeshState): string {
  if (body.type === "node-admit" && body.authority !== null) return `token ${body.authority}`;
  const user = userOfKey(state, signer);
  if (user) return user.name;
  const node = state.nodes.values().find(({ identity }) => identity === signer);
  return node ? `node ${node.id}` : "unknown";
}
