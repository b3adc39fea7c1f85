/**
 * Policies and meshes for tests: trees stand for files, and places are paths in them.
 * @module
 */
import type { Tree } from "../config/source.ts";
import { parsePolicy } from "./parse.ts";
import type { Policy } from "./policy.ts";
import type { PolicySource } from "./problems.ts";
import { type MeshNode, MeshSubjects, type MeshUser, type MeshView } from "./subjects.ts";

/** A file named `name` that holds `tree`. */
export function fileOf(tree: Tree, name = "policy"): PolicySource {
  return { tree, where: (path) => `${name}#${path.join("/")}` };
}

/** The policy in `tree`, which must be right. */
export function policyOf(tree: Tree): Policy {
  const { policy, problems } = parsePolicy([fileOf(tree)]);
  if (policy === null) throw new Error(problems.join("\n"));
  return policy;
}

/** What is wrong with `tree`. */
export function problemsOf(...trees: Tree[]): readonly string[] {
  const files = trees.map((tree, i) => fileOf(tree, trees.length > 1 ? `file${i + 1}` : "policy"));
  return parsePolicy(files).problems ?? [];
}

/** A node from `laptop alice`, `nas - server,backup`: name, user or `-`, tags. */
export function nodeOf(text: string, index = 0): MeshNode {
  const [name, user, tags] = text.split(" ");
  return {
    id: (index + 1).toString(16).padStart(16, "0"),
    name: name!,
    user: user === undefined || user === "-" ? null : user,
    tags: tags?.split(",") ?? [],
  };
}

/** A mesh of nodes as {@link nodeOf} reads them and users that own them; `admins` are admins. */
export function meshOf(
  nodes: readonly string[],
  options: { admins?: string[] } = {},
): MeshView {
  const list = nodes.map(nodeOf);
  const names = new Set(list.flatMap(({ user }) => user === null ? [] : [user]));
  const users = [...names].map((name): MeshUser => ({
    name,
    isAdmin: options.admins?.includes(name) ?? false,
  }));
  return { nodes: list, users };
}

/** A policy in a mesh. */
export function worldOf(tree: Tree, view: MeshView): MeshSubjects {
  return new MeshSubjects(policyOf(tree), view);
}

/** The node of that name, which must be there. */
export function nodeNamed(subjects: MeshSubjects, name: string): MeshNode {
  const node = subjects.view.nodes.find((each) => each.name === name);
  if (!node) throw new Error(`no node ${name}`);
  return node;
}
