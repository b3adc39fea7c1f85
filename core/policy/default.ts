/**
 * What holds in a mesh whose owner has written nothing yet? A document like any other, so that
 * `policy explain` can show it and an edit can start from it.
 * @module
 */
import { type ParsedPolicy, parsePolicy } from "./parse.ts";
import type { Policy } from "./policy.ts";
import type { PolicyFile } from "./schema.ts";

/** The first policy as text; what `policy export` writes for the first edit. */
export const FIRST_POLICY_TEXT = `# The policy that a mesh begins with.
rules:
  - from: everyone
    to: self
    ports: any
    comment: Nodes of one user reach each other
  - from: everyone
    to: everyone
    ports: [ping, mesh]
    comment: All nodes may ping each other and ask for names
bindings:
  - to: everyone
    right: read
    panels: [visualizer, map, alerts, s3, shares]
    comment: Everyone sees the mesh
  - to: everyone
    right: write
    shares: default
    nfs: default
    comment: Everyone uses the share of the mesh
`;

/** The same as a tree; a test holds the two together. */
export const FIRST_POLICY_TREE: PolicyFile = {
  rules: [
    {
      from: "everyone",
      to: "self",
      ports: "any",
      comment: "Nodes of one user reach each other",
    },
    {
      from: "everyone",
      to: "everyone",
      ports: ["ping", "mesh"],
      comment: "All nodes may ping each other and ask for names",
    },
  ],
  bindings: [
    {
      to: "everyone",
      right: "read",
      panels: ["visualizer", "map", "alerts", "s3", "shares"],
      comment: "Everyone sees the mesh",
    },
    {
      to: "everyone",
      right: "write",
      shares: "default",
      nfs: "default",
      comment: "Everyone uses the share of the mesh",
    },
  ],
};

/** Stands for a file's name where the first policy decides something. */
export const FIRST_POLICY_NAME = "first-policy.yaml";

/** The first policy. */
export function firstPolicy(): Policy {
  const parsed: ParsedPolicy = parsePolicy([{
    tree: { ...FIRST_POLICY_TREE },
    where: ([section, index]) => `${FIRST_POLICY_NAME}:${lineOf(String(section), Number(index))}:5`,
  }]);
  if (parsed.policy === null) throw new TypeError(parsed.problems.join("\n"));
  return parsed.policy;
}

/** The line of a section's entry. */
function lineOf(section: string, index: number): number {
  const lines = FIRST_POLICY_TEXT.split("\n");
  const start = lines.indexOf(`${section}:`);
  const entries = lines.flatMap((line, i) => i > start && line.startsWith("  - ") ? [i] : []);
  return entries[index]! + 1;
}
