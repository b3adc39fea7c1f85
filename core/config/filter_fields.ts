/**
 * The settings of the packet filter: rules of one node.
 * @module
 */
import { z } from "zod";
import { PROTOCOLS } from "../filter/rules.ts";
import {
  type FilterConfig,
  parsePortRange,
  PORT_FORM,
  readSource,
  type WrittenRule,
  type WrittenSource,
} from "../filter/written.ts";
import { assert } from "../assert.ts";

const port = z.union([z.int(), z.string()], { error: PORT_FORM })
  .refine((value) => parsePortRange(String(value)) !== null, { error: PORT_FORM });

const fields = {
  port: port.optional().meta({ description: "Port, or ports FIRST-LAST", example: 22 }),
  protocol: z.enum(PROTOCOLS).optional().meta({
    description: "Protocol; without it a port is one of TCP and of UDP",
    example: "tcp",
  }),
  action: z.enum(["allow", "deny"]).meta({ description: "Verdict", example: "allow" }),
  source_peer: z.string().optional().meta({
    description: "Whose packets: those of a peer, by name or id",
    example: "laptop",
  }),
  source_group: z.string().optional().meta({
    description: "Those of a group's members, in place of a peer's",
    example: "ops",
  }),
  source_tag: z.string().optional().meta({
    description: "Those of nodes that carry a tag, in place of a peer's",
    example: "ci",
  }),
  from: z.string().optional().meta({
    description: "Those of a subject of the policy, in place of a peer's",
    example: "user:anna",
  }),
  comment: z.string().max(200).optional().meta({
    description: "What it is for",
    example: "Backups",
  }),
};

/** A rule as it stands in a file. */
const Rule = z.strictObject(fields).superRefine((rule, context) => {
  const wrong = (field: keyof typeof fields, message: string) =>
    context.addIssue({ code: "custom", path: [field], message });
  if (rule.port === undefined && rule.protocol === undefined) {
    context.addIssue({
      code: "custom",
      message: "must have a port or a protocol (or protocol: any)",
    });
  }
  if (rule.port !== undefined && rule.protocol === "icmp") {
    wrong("port", "must be left out, for ICMP has none");
  }
  const source = readSource(rule);
  if ("problem" in source) wrong(source.field, source.problem);
});

/** Settings of a node's filter. */
export const filterFields = {
  default_deny: z.boolean().default(true).meta({
    description: "Refuse what no rule allows; answers to what this node sent always come in",
  }),
  rules: z.array(Rule).default([]).meta({
    description: "Rules for what comes in, beside those of the policy; any that denies wins",
    example: [{ port: 22, protocol: "tcp", action: "allow", source_peer: "laptop" }],
  }),
};

interface FilterFile {
  readonly default_deny: boolean;
  readonly rules: readonly z.infer<typeof Rule>[];
}

/** The filter of a file, with the place of each rule. */
export function normaliseFilter(
  file: FilterFile | undefined,
  where: (path: readonly (string | number)[]) => string,
): FilterConfig {
  return {
    isDefaultDeny: file?.default_deny ?? true,
    defaultWhere: file ? where(["filter", "default_deny"]) : "built in",
    rules: (file?.rules ?? []).map((rule, i): WrittenRule => ({
      action: rule.action,
      protocol: rule.protocol ?? "any",
      ports: rule.port === undefined ? null : [parsePortRange(String(rule.port))!],
      from: sourceOf(rule),
      origin: { where: where(["filter", "rules", i]), comment: rule.comment ?? "" },
    })),
  };
}

function sourceOf(rule: WrittenSource): WrittenRule["from"] {
  const source = readSource(rule);
  assert(!("problem" in source), "the schema refuses such a source");
  return source;
}
