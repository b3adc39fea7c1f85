/**
 * Which policies has the mesh had, and who applied them? Read from its log, every entry checked.
 * @module
 */
import type { MeshLogReport } from "../core/daemon/mesh_report.ts";
import { MeshError } from "../core/errors.ts";
import { audit } from "../core/state/audit.ts";
import type { PolicyDocument } from "../core/state/bodies.ts";
import { verifyEntry } from "../core/state/entry.ts";
import { FIRST_TEXTS } from "./policy_world.ts";
import { diffStat } from "./text_diff.ts";
import { documentsOf } from "./policy_files.ts";

/** One policy that was applied. */
export interface PolicyVersion {
  readonly seq: number;
  readonly at: number;
  /** Name of the user who applied it. */
  readonly by: string;
  readonly hash: string;
  readonly documents: readonly PolicyDocument[];
  /** What it changed in the one before, e.g. `policy.yaml +2 -1`. */
  readonly summary: string;
  /** Whether it is the newest. */
  readonly isApplied: boolean;
}

/** Every policy, the newest first. @throws {MeshError} when the log is not right. */
export function policyVersions({ meshId, entries }: MeshLogReport): PolicyVersion[] {
  const versions: PolicyVersion[] = [];
  let before: readonly PolicyDocument[] = documentsOf(FIRST_TEXTS);
  for (const { seq, at, by, action } of audit(entries, meshId)) {
    if (action !== "policy-set") continue;
    const { body } = verifyEntry(entries[seq]).entry;
    if (body.type !== "policy-set") continue;
    const { documents, hash } = body;
    const summary = summaryOf(before, documents);
    versions.unshift({ seq, at, by: by.name, hash, documents, summary, isApplied: false });
    before = documents;
  }
  return versions.map((each, i) => ({ ...each, isApplied: i === 0 }));
}

/**
 * The policy that a user names: by the number of its entry, by the beginning of its hash, or `first`
 * for the one that the mesh began with.
 *
 * @throws {MeshError} `usage`
 */
export function findVersion(
  versions: readonly PolicyVersion[],
  name: string,
): readonly PolicyDocument[] {
  if (name === "first") return documentsOf(FIRST_TEXTS);
  const bySeq = versions.find(({ seq }) => String(seq) === name);
  if (bySeq) return bySeq.documents;
  const byHash = versions.filter(({ hash }) => name.length >= 4 && hash.startsWith(name));
  const hashes = new Set(byHash.map(({ hash }) => hash));
  if (hashes.size === 1) return byHash[0]!.documents;
  const why = hashes.size > 1 ? "several hashes begin so" : "no policy was applied under it";
  throw new MeshError("usage", `Cannot find policy ${name}: ${why}`, {
    hint: "`tunnelmesh policy history` lists entries and hashes; `first` is the one it began with",
  });
}

function summaryOf(before: readonly PolicyDocument[], after: readonly PolicyDocument[]): string {
  const files = [...new Set([...before, ...after].map(({ file }) => file))].sort();
  const textOf = (documents: readonly PolicyDocument[], file: string) =>
    documents.find((each) => each.file === file)?.text ?? "";
  const changed = files.flatMap((file) => {
    const [old, now] = [textOf(before, file), textOf(after, file)];
    if (old === now) return [];
    const { added, removed } = diffStat(old, now);
    return [`${file} +${added} -${removed}`];
  });
  return changed.join(", ") || "no change";
}
