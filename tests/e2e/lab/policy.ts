/**
 * Policies that tests give their meshes, as an admin would.
 * @module
 */
import type { Node } from "./node.ts";
import type { Output } from "./process.ts";

/** What a mesh begins with, for policies that add to it. */
export const FIRST_RULES = `rules:
  - { from: everyone, to: self, ports: any }
  - { from: everyone, to: everyone, ports: [ping, mesh] }
`;

/** Applies a policy at a node; what comes of it is for the caller to judge. */
export async function tryToApply(node: Node, policy: string): Promise<Output> {
  const path = `${node.machine.directory}/home/policy.yaml`;
  await Deno.writeTextFile(path, policy);
  return await node.cli("policy", "apply", path, "--yes");
}

/** Applies a policy at an admin's node. */
export async function applyPolicy(node: Node, policy: string): Promise<void> {
  const { code, stdout, stderr } = await tryToApply(node, policy);
  if (code !== 0) throw new Error(`Cannot apply a policy at ${node.name}: ${stdout}${stderr}`);
}
