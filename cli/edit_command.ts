/**
 * How do `group`, `role` and `bind` change the policy? They edit its documents and apply them as
 * `policy apply` does: checked, tested, planned, one entry.
 * @module
 */
import { nearest } from "../core/config/nearest.ts";
import type { MeshReport } from "../core/daemon/mesh_report.ts";
import { MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import type { Policy } from "../core/policy/policy.ts";
import { formatSubject, parseSubject } from "../core/policy/subject.ts";
import type { CommandContext } from "./command.ts";
import { type Applying, applyProposal, type Proposal, propose } from "./policy_change.ts";
import type { PolicyText } from "./policy_files.ts";
import { type AppliedPolicy, expectApplied } from "./policy_world.ts";
import { loadSigner } from "./statements.ts";

/** The policy that is edited. */
export interface Editing {
  readonly mesh: MeshReport;
  readonly applied: AppliedPolicy;
}

/** An edit that waits for a yes. */
export interface PreparedEdit {
  readonly proposal: Proposal;
  readonly signer: Identity | null;
}

/** Edits the applied documents, while YAML may still be read. */
export async function prepareEdit(
  { host, daemon }: CommandContext,
  key: string | undefined,
  edit: (editing: Editing) => readonly PolicyText[],
): Promise<PreparedEdit> {
  const mesh = await (await daemon()).mesh();
  const applied = expectApplied(mesh);
  const proposal = propose(mesh, applied, edit({ mesh, applied }));
  return { proposal, signer: await loadSigner(host, key) };
}

/** Plans, asks, applies; the exit status. */
export async function applyEdit(
  { proposal, signer }: PreparedEdit,
  context: CommandContext,
  yes: boolean,
): Promise<number> {
  using client = await context.daemon();
  const applying: Applying = { context, client, meshId: proposal.mesh.meshId, signer, yes };
  return await applyProposal(proposal, applying);
}

/** The documents with one of them changed: the first that `has`, else the first of all. */
export function changeIn(
  texts: readonly PolicyText[],
  has: (text: string) => boolean,
  change: (text: string) => string,
): PolicyText[] {
  const target = texts.find(({ text }) => has(text)) ?? texts[0];
  if (!target) return [{ file: "policy.yaml", shown: "policy.yaml", text: change("") }];
  return texts.map((each) => each === target ? { ...each, text: change(each.text) } : each);
}

/**
 * What a word means as a member, with its kind: `bob` is `user:bob`.
 * @throws {MeshError} `usage` when it is nobody's, or somebody's twice.
 */
export function subjectWord(word: string, { mesh, applied }: Editing): string {
  const subject = parseSubject(word);
  if (subject === null || subject.kind === "self") {
    throw new MeshError("usage", `Cannot use "${word}": it names nobody`, { hint: FORMS });
  }
  if (subject.kind !== "bare") return formatSubject(subject);
  const known = knownSubjects(mesh, applied.policy);
  const meant = known.filter((each) => each.endsWith(`:${word}`));
  const node = mesh.nodes.find(({ id }) => id === word);
  if (node) return `node:${node.name}`;
  if (meant.length === 1) return meant[0]!;
  if (meant.length > 1) {
    throw new MeshError("usage", `Cannot use "${word}": it is ${meant.join(" and ")}`, {
      hint: "Write which of them you mean",
    });
  }
  const near = nearest(word, known.map((each) => each.slice(each.indexOf(":") + 1)));
  throw new MeshError("name-unknown", `Cannot find "${word}": no user, node, tag or group`, {
    hint: near === null ? FORMS : `Did you mean "${near}"?`,
  });
}

const FORMS = "Write user:NAME, node:NAME, tag:NAME, group:NAME, everyone or admins";

function knownSubjects({ users, nodes }: MeshReport, policy: Policy): string[] {
  const tags = new Set([...policy.tags.keys(), ...nodes.flatMap((node) => node.tags)]);
  return [
    ...users.map(({ name }) => `user:${name}`),
    ...nodes.map(({ name }) => `node:${name}`),
    ...[...tags].map((name) => `tag:${name}`),
    ...[...policy.groups.keys()].map((name) => `group:${name}`),
  ];
}
