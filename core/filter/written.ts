/**
 * A filter rule as people write it at one node: in its configuration file, or with `filter add`.
 * @module
 */
import { parseSubject, type Subject } from "../policy/subject.ts";
import type { FilterRule, PortRange, RuleOrigin } from "./rules.ts";

/** Its sources are still words: whom they name is known when it is compiled. */
export interface WrittenRule
  extends Pick<FilterRule, "action" | "protocol" | "ports" | "icmpTypes"> {
  readonly from: Subject;
  readonly origin: RuleOrigin;
}

/** What a node's configuration says about its filter. */
export interface FilterConfig {
  /** False: what no rule speaks of is allowed. */
  readonly isDefaultDeny: boolean;
  /** Where the file says so. */
  readonly defaultWhere: string;
  readonly rules: readonly WrittenRule[];
}

/** Nothing in the file. */
export const NO_FILTER_CONFIG: FilterConfig = {
  isDefaultDeny: true,
  defaultWhere: "built in",
  rules: [],
};

export const EVERYONE: Subject = { kind: "group", name: "everyone" };

/** Whether a subject is all members. */
export function isEveryone(subject: Subject): boolean {
  return subject.kind === "group" && subject.name === "everyone";
}

export const PORT_FORM = "must be a port (22) or a range (8000-8010)";

/** Reads `22` or `8000-8010`; null for anything else. */
export function parsePortRange(text: string): PortRange | null {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return null;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : null;
}

/** Text that {@link parsePortRange} reads. */
export function formatPortRange({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}

/** The ways to say whose packets a rule is about; names as in a configuration file. */
export interface WrittenSource {
  readonly source_peer?: string | undefined;
  readonly source_group?: string | undefined;
  readonly source_tag?: string | undefined;
  readonly from?: string | undefined;
}

/** What is wrong with a source, and which field is to blame. */
export interface SourceProblem {
  readonly field: keyof WrittenSource;
  readonly problem: string;
}

const SOURCE_FORM = "must be user:NAME, node:NAME, tag:NAME, group:NAME, everyone or a bare name";

/** The subject that the one field given names: everyone when none is. */
export function readSource(source: WrittenSource): Subject | SourceProblem {
  const fields = (["source_peer", "source_group", "source_tag", "from"] as const)
    .filter((field) => source[field] !== undefined);
  const [field, second] = fields;
  if (field === undefined) return EVERYONE;
  if (second !== undefined) return { field: second, problem: `cannot stand beside ${field}` };
  const text = source[field]!;
  const kind = { source_peer: "node:", source_group: "group:", source_tag: "tag:", from: "" };
  // "everyone" and "admins" are groups, with or without saying so.
  const subject = parseSubject(kind[field] + text);
  if (subject === null || subject.kind === "self") {
    return { field, problem: field === "from" ? SOURCE_FORM : "must be a name" };
  }
  return subject;
}
