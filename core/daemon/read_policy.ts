/**
 * Reads the documents of a mesh's policy. Apart from those who follow a policy, since the YAML
 * parser takes memory that a mesh with its first policy need not give.
 * @module
 */
import { MeshError } from "../errors.ts";
import { parsePolicy } from "../policy/parse.ts";
import type { Policy } from "../policy/policy.ts";
import type { PolicyDocument } from "../state/bodies.ts";
import { yamlSource } from "./yaml_source.ts";

/** @throws {MeshError} "config-invalid" with everything that is wrong. */
export function readPolicy(documents: readonly PolicyDocument[]): Policy {
  const sources = documents.map(({ file, text }) =>
    yamlSource({ name: file, text }, { keepsNulls: true })
  );
  const { policy, problems } = parsePolicy(sources);
  if (policy) return policy;
  throw new MeshError("config-invalid", problems.join("\n"));
}
