/**
 * What does a command know before it states something, and how does it ask?
 * @module
 */
import { nearest } from "../core/config/nearest.ts";
import type { MeshNodeReport, MeshReport, MeshUserReport } from "../core/daemon/mesh_report.ts";
import { MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import type { MeshView } from "../core/policy/subjects.ts";
import type { Body } from "../core/state/bodies.ts";
import type { SignedEntry } from "../core/state/entry.ts";
import { fold } from "../core/state/log.ts";
import type { MeshState } from "../core/state/state.ts";
import type { CommandContext } from "./command.ts";
import { changesInMesh } from "./policy_change.ts";
import { type AppliedPolicy, appliedPolicy, viewOf } from "./policy_world.ts";
import { askYes } from "./prompt.ts";
import { loadSigner, state } from "./statements.ts";

/** The mesh before a change. */
export interface Standing {
  readonly mesh: MeshReport;
  readonly applied: AppliedPolicy;
  /** What the log comes to, every entry checked. */
  readonly state: MeshState;
  /** The log itself. */
  readonly entries: readonly SignedEntry[];
  /** The key of `--key`; null for the daemon's. */
  readonly signer: Identity | null;
}

/** Asks the daemon and reads keys, before permissions are given up. */
export async function standingOf(
  { host, daemon }: Pick<CommandContext, "host" | "daemon">,
  key: string | undefined,
): Promise<Standing> {
  const client = await daemon();
  const mesh = await client.mesh();
  const { entries, meshId } = await client.meshLog();
  const { state } = fold(entries, meshId);
  const signer = await loadSigner(host, key);
  return { mesh, applied: appliedPolicy(mesh), state, entries, signer };
}

/** Something to state about the mesh. */
export interface MeshChange {
  readonly bodies: readonly Body[];
  /** The mesh afterwards, where that may give or take rights. */
  readonly after: ((view: MeshView) => MeshView) | null;
  /** What is asked; null asks only where somebody gains or loses something. */
  readonly question: string | null;
  /** Said when it is done. */
  readonly done: readonly string[];
  /** What programs are told besides. */
  readonly document: Readonly<Record<string, unknown>>;
}

/** Shows what a change comes to, asks, and states it; the exit status. */
export async function applyChange(
  change: MeshChange,
  { mesh, applied, signer }: Standing,
  context: CommandContext,
  yes: boolean,
): Promise<number> {
  const { host, out, daemon } = context;
  using client = await daemon();
  const changes = change.after === null
    ? []
    : changesInMesh(applied, mesh, change.after(viewOf(mesh)));
  if (change.after !== null && applied.problem !== null) {
    out.warning(`What it gives and takes is not known: the policy is wrong: ${applied.problem}`);
  }
  for (const line of changes) out.line(line);
  const question = change.question ?? (changes.length > 0 ? "Go on?" : null);
  if (question !== null && !yes && !askYes(host, question)) {
    out.warning("Nothing was changed");
    return 1;
  }
  let seq: number | null = null;
  for (const body of change.bodies) {
    seq = (await state({ client, meshId: mesh.meshId, signer }, body)).seq;
  }
  out.document({ ...change.document, changes, seq }, () => change.done);
  return 0;
}

/** A user by name or id. @throws {MeshError} `name-unknown` */
export function findUser({ users }: MeshReport, name: string): MeshUserReport {
  const word = name.replace(/^user:/, "");
  const user = users.find((each) => each.name === word || each.id === word);
  if (user) return user;
  throw unknown("name-unknown", "user", name, users.map((each) => each.name));
}

/** A node by name or id. @throws {MeshError} `peer-unknown` */
export function findNode({ nodes }: MeshReport, name: string): MeshNodeReport {
  const word = name.replace(/^node:/, "").toLowerCase().replace(/\.(tunnelmesh|mesh|tm)\.?$/, "");
  const node = nodes.find((each) => each.name === word || each.id === word);
  if (node) return node;
  throw unknown("peer-unknown", "node", name, nodes.map((each) => each.name));
}

/** What a word that fits nothing is told. */
export function unknown(
  code: "name-unknown" | "peer-unknown",
  kind: string,
  word: string,
  known: readonly string[],
): MeshError {
  const near = nearest(word, known);
  return new MeshError(code, `Cannot find ${kind} "${word}": the mesh has none`, {
    hint: near === null ? `\`tunnelmesh ${kind} list\` lists them` : `Did you mean "${near}"?`,
  });
}
