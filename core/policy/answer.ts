/**
 * May this one reach that one, and why? Questions in the words of the document, as the command line
 * asks them: `alice` `nas:443`, `tag:iot` `bucket:media:write`, `laptop` `exit:vps`.
 * @module
 */
import { explainAll, noOtherLayers, type OtherLayers } from "./explain.ts";
import { explainRight, formatRight } from "./explain_right.ts";
import { formatGroups } from "./explain_text.ts";
import { explainWay, formatWay } from "./explain_way.ts";
import { readTarget } from "./parse_entries.ts";
import type { TestTarget } from "./policy.ts";
import { Problems } from "./problems.ts";
import { Reader } from "./reader.ts";
import { BUILTIN_GROUPS, formatSubject, type Subject } from "./subject.ts";
import type { MeshNode, MeshSubjects, Principal } from "./subjects.ts";
import { mayOfferRoute } from "./ways.ts";

/** An answer of at most one screen, or what is wrong with the question. */
export type Answer =
  | { readonly text: string; readonly problems: null }
  | { readonly text: null; readonly problems: readonly string[] };

/** Different reasons beyond these are only counted. */
const MAX_SHOWN = 3;

/** Answers for everyone whom `from` names and everything that `target` names. */
export function answer(
  subjects: MeshSubjects,
  from: string,
  target: string,
  others: OtherLayers = noOtherLayers,
): Answer {
  const problems = new Problems();
  const { groups, tags, services } = subjects.policy;
  const names = {
    groups: new Set([...BUILTIN_GROUPS, ...groups.keys()]),
    tags: new Set(tags.keys()),
    services,
    roles: new Map(),
  };
  const reader = new Reader({ tree: {}, where: () => "question" }, problems, names);
  const source = reader.subject(from, ["from"]);
  // As for a test that allows: a port alone is TCP.
  const wanted = readTarget(reader, target, ["to"], "allow");
  if (source === null || wanted === null) return { text: null, problems: problems.all };
  return { text: textFor(subjects, source, wanted, others), problems: null };
}

function textFor(
  subjects: MeshSubjects,
  from: Subject,
  target: TestTarget,
  others: OtherLayers,
): string {
  const stranger = strangerOf(subjects, from, target);
  if (stranger !== null) return `nobody in the mesh is ${formatSubject(stranger)}`;
  const sources = nodesOf(subjects, from);
  switch (target.type) {
    case "traffic": {
      const destinations = nodesOf(subjects, target.to);
      return formatGroups(explainAll(subjects, sources, destinations, target.traffic, others));
    }
    case "right": {
      const { nodes, users } = subjects.resolve(from, "deny");
      const all: Principal[] = [
        ...[...users].map((user) => ({ user })),
        ...[...nodes].map((node) => ({ node })),
      ];
      const found = all.map((who) => explainRight(subjects, who, target.right, target.object));
      return shown(
        found.map((each) => ({
          key: `${each.decision.isAllowed} ${each.decision.by?.origin.where}`,
          text: formatRight(each),
        })),
      );
    }
    default: {
      const prefix = target.type === "exit" ? null : target.prefix;
      const vias = target.type === "exit"
        ? nodesOf(subjects, target.via)
        : subjects.view.nodes.filter((node) => mayOfferRoute(subjects, node, target.prefix));
      const ways = sources.flatMap((node) => vias.map((via) => ({ from: node, via, prefix })));
      const found = ways.filter((way) => way.from.id !== way.via.id)
        .map((way) => explainWay(subjects, way));
      return shown(
        found.map((each) => ({
          key: `${each.isAllowed} ${each.by?.where}`,
          text: formatWay(each),
        })),
      );
    }
  }
}

/** The first of the subjects of a question that names nobody, as a misspelt one does. */
function strangerOf(subjects: MeshSubjects, from: Subject, target: TestTarget): Subject | null {
  const named = [from];
  if (target.type === "traffic") named.push(target.to);
  if (target.type === "exit") named.push(target.via);
  return named.find((subject) => {
    const { nodes, users } = subjects.resolve(subject, "deny");
    return subject.kind !== "self" && nodes.size + users.size === 0;
  }) ?? null;
}

/** One text for each reason, and how often each holds. */
function shown(answers: readonly { readonly key: string; readonly text: string }[]): string {
  if (answers.length === 0) {
    return "nobody in the mesh is meant";
  }
  const byKey = Map.groupBy(answers, ({ key }) => key);
  const texts = [...byKey.values()].map(([first, ...more]) =>
    first!.text + (more.length > 0 ? `\n  the same for ${more.length} more` : "")
  );
  const rest = texts.length - MAX_SHOWN;
  return [...texts.slice(0, MAX_SHOWN), ...(rest > 0 ? [`and ${rest} other reasons`] : [])]
    .join("\n");
}

function nodesOf(subjects: MeshSubjects, subject: Subject): MeshNode[] {
  const { nodes } = subjects.resolve(subject, "deny");
  return subjects.view.nodes.filter(({ id }) => nodes.has(id));
}
