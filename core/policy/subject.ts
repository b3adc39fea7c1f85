/**
 * Whom does a policy document speak of? The text of one subject, and back.
 * @module
 */

/** What a subject's word before the colon may be. */
export const SUBJECT_KINDS = ["user", "node", "tag", "group"] as const;
export type SubjectKind = typeof SUBJECT_KINDS[number];

/** Groups that every mesh has: all members, and the users who may change the policy. */
export const BUILTIN_GROUPS = ["everyone", "admins"] as const;

/** One subject. A bare name is a user's or a node's, whichever the mesh has. */
export type Subject =
  | { readonly kind: SubjectKind; readonly name: string }
  | { readonly kind: "bare"; readonly name: string }
  /** In `to`: the nodes of the source's own user. */
  | { readonly kind: "self" };

/** Names that groups, tags, services and roles may have. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const NAME_FORM =
  "must be 1 to 63 lower-case letters, digits, dots, hyphens and underscores, the first no sign";

export const SUBJECT_FORM =
  "must be user:NAME, node:NAME, tag:NAME, group:NAME, everyone, admins or a bare name";

/** A user's name is chosen outside the document: anything that is one printable word. */
const WORD = /^[^\s,]{1,200}$/;

/** Reads a subject; bare names stay bare. Null when `text` is none. */
export function parseSubject(text: string): Subject | null {
  if (text === "self") return { kind: "self" };
  const colon = text.indexOf(":");
  if (colon < 0) {
    if ((BUILTIN_GROUPS as readonly string[]).includes(text)) return { kind: "group", name: text };
    return WORD.test(text) ? { kind: "bare", name: text } : null;
  }
  const kind = SUBJECT_KINDS.find((each) => each === text.slice(0, colon));
  const name = text.slice(colon + 1);
  if (kind === undefined || !WORD.test(name)) return null;
  if ((kind === "tag" || kind === "group") && !NAME_PATTERN.test(name)) return null;
  return { kind, name };
}

/** Text that {@link parseSubject} reads as the same subject. */
export function formatSubject(subject: Subject): string {
  if (subject.kind === "self") return "self";
  if (subject.kind === "bare") return subject.name;
  const isBuiltin = subject.kind === "group" &&
    (BUILTIN_GROUPS as readonly string[]).includes(subject.name);
  return isBuiltin ? subject.name : `${subject.kind}:${subject.name}`;
}
