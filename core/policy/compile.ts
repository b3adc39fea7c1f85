/**
 * What must one node's packet filter be told, so that the policy holds there?
 *
 * The rules of the other layers (the node's own configuration, temporary ones, service ports) are
 * put beside these: which layer a rule is of never matters, since any denial wins.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../bytes.ts";
import { type FilterRule, LAYERS } from "../filter/rules.ts";
import type { PeerId } from "../ids.ts";
import { formatPrefix, type Prefix } from "../ip.ts";
import type { Rule } from "./policy.ts";
import { formatSubject, type Subject } from "./subject.ts";
import { haveOneUser, type MeshNode, type MeshSubjects } from "./subjects.ts";
import { filterMatches, formatTraffic, type Traffic } from "./traffic.ts";
import { waysOf } from "./ways.ts";

/** A rule before its traffic is cut into what the filter can match. */
type Draft = Pick<FilterRule, "action" | "sources" | "destinations" | "origin"> & {
  readonly traffic: Traffic;
  /** What it says, apart from who is a member at the moment. */
  readonly content: string;
};

/** The policy's rules for `node`, layer `coordinator`. */
export function compileNode(subjects: MeshSubjects, node: MeshNode): FilterRule[] {
  const drafts = [...ruleDrafts(subjects, node), ...wayDrafts(subjects, node)];
  const rules = drafts.flatMap(({ traffic, content, ...draft }): FilterRule[] => {
    const id = toHex(sha256(utf8(content)).subarray(0, ID_BYTES));
    return filterMatches(traffic).map((match, i) => ({
      id: i === 0 ? id : `${id}.${i}`,
      layer: "coordinator",
      ...draft,
      ...match,
    }));
  });
  return withUniqueIds(rules);
}

/** Enough that two rules of one document never share an id by chance. */
const ID_BYTES = 6;

/** Rules of all layers as one set; an id that comes twice gets a number. */
export function mergeLayers(...layers: readonly (readonly FilterRule[])[]): FilterRule[] {
  const rules = layers.flat();
  return withUniqueIds(
    LAYERS.flatMap((layer) => rules.filter((rule) => rule.layer === layer)),
  );
}

function withUniqueIds(rules: readonly FilterRule[]): FilterRule[] {
  const used = new Set<string>();
  return rules.map((rule) => {
    let id = rule.id;
    for (let n = 2; used.has(id); n++) id = `${rule.id}~${n}`;
    used.add(id);
    return id === rule.id ? rule : { ...rule, id };
  });
}

function* ruleDrafts(subjects: MeshSubjects, node: MeshNode): Generator<Draft> {
  for (const rule of subjects.policy.rules) {
    const sources = sourcesOf(subjects, rule, node);
    if (sources !== null && sources.size === 0) continue;
    yield {
      action: rule.action,
      sources,
      destinations: null,
      traffic: rule.traffic,
      origin: rule.origin,
      content: [rule.action, text(rule.from), text(rule.to), formatTraffic(rule.traffic)].join(" "),
    };
  }
}

/** Whose packets to `node` a rule is about; null for every member's. */
export function sourcesOf(
  subjects: MeshSubjects,
  rule: Rule,
  node: MeshNode,
): ReadonlySet<PeerId> | null {
  const isNamed = subjects.includes(rule.to, { node: node.id }, rule.action);
  const isSelf = rule.to.some(({ kind }) => kind === "self");
  if (!isNamed && !isSelf) return new Set();
  if (isNamed && rule.from.some(isEveryone)) return null;
  const { nodes } = subjects.resolveAll(rule.from, rule.action);
  return new Set([...nodes].filter((id) => {
    if (id === node.id) return false;
    const source = subjects.node(id);
    return isNamed || (source !== undefined && haveOneUser(source, node));
  }));
}

/** Rules for what the node passes on: to the Internet, to networks behind it. */
function* wayDrafts(subjects: MeshSubjects, node: MeshNode): Generator<Draft> {
  for (const way of waysOf(subjects.policy)) {
    const { action, offer, use, origin, traffic, prefixes } = way;
    if (!subjects.includes(offer, { node: node.id }, action)) continue;
    const sources = use.some(isEveryone) ? null : except(subjects.resolveAll(use, action), node);
    if (sources !== null && sources.size === 0) continue;
    yield {
      action,
      sources,
      destinations: prefixes,
      traffic,
      origin,
      content: [
        `way ${action}`,
        text(offer),
        text(use),
        textOf(prefixes),
        formatTraffic(traffic),
      ].join(" "),
    };
  }
}

function except({ nodes }: { readonly nodes: ReadonlySet<PeerId> }, node: MeshNode): Set<PeerId> {
  return new Set([...nodes].filter((id) => id !== node.id));
}

function isEveryone(subject: Subject): boolean {
  return subject.kind === "group" && subject.name === "everyone";
}

function text(subjects: readonly Subject[]): string {
  return subjects.map(formatSubject).join(",");
}

function textOf(prefixes: readonly Prefix[]): string {
  return prefixes.map(formatPrefix).join(",");
}
