/**
 * Changes one thing in a policy document's text and leaves every other byte as it was: comments,
 * order, quotes, blank lines.
 *
 * The YAML parser says where things are, and the text is cut there. Shapes for which that is not
 * done (a section written as `{...}` on one line) are rewritten by the parser, which keeps comments
 * but not the layout. Each result is read again and compared with what was meant.
 * @module
 */
import {
  type Document,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parse,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { assert } from "../core/assert.ts";

type Named = "groups" | "roles";
type Listed = "bindings";

/** Adds a named entry to a section; `value` is YAML on one line, `comment` goes behind it. */
export function addNamed(
  text: string,
  section: Named,
  name: string,
  value: unknown,
  comment = "",
): string {
  const line = `${scalarText(name)}: ${flowText(value)}${comment === "" ? "" : ` # ${comment}`}`;
  return edited(text, (doc) => doc.setIn([section, name], value), (doc) => {
    const node = doc.get(section, true);
    if (node === undefined) return appended(text, `${section}:\n  ${line}\n`);
    if (!isMap(node) || node.flow || node.items.length === 0) return null;
    const first = (node.items[0]!.key as Node).range![0];
    return insertedAfter(text, node.range![1], " ".repeat(columnOf(text, first)) + line);
  });
}

/** Takes a named entry out, and the section with its last one. */
export function removeNamed(text: string, section: Named, name: string): string {
  return edited(text, (doc) => deleteIn(doc, section, name), (doc) => {
    const node = doc.get(section, true) as YAMLMap;
    if (node.items.length === 1) return withoutSection(text, doc, section);
    const pair = pairOf(node, name);
    return node.flow || !pair
      ? null
      : withoutLines(text, (pair.key as Node).range![0], endOf(pair));
  });
}

/** Adds members to a group. */
export function addMembers(text: string, group: string, members: readonly string[]): string {
  return members.reduce((before, member) => {
    const meant = (doc: Document) => setMembers(doc, group, (old) => [...old, member]);
    return edited(before, meant, (doc) => {
      const value = valueOf(doc, group);
      if (isSeq(value)) return withItem(before, value, scalarText(member));
      const old = isScalar(value) && value.value !== null ? [String(value.value)] : [];
      return withValue(before, doc, group, flowText([...old, member]));
    });
  }, text);
}

/** Takes one member, as it is written, out of a group. */
export function removeMember(text: string, group: string, member: string): string {
  const meant = (doc: Document) => setMembers(doc, group, (old) => old.filter((x) => x !== member));
  return edited(text, meant, (doc) => {
    const value = valueOf(doc, group);
    if (!isSeq(value) || value.items.length === 1) return withValue(text, doc, group, "[]");
    const index = value.items.findIndex((item) => isScalar(item) && item.value === member);
    return withoutItem(text, value, index);
  });
}

/** Adds an entry at the end of a list. */
export function addListed(text: string, section: Listed, value: unknown): string {
  const item = `- ${flowText(value)}`;
  return edited(text, (doc) => addTo(doc, section, value), (doc) => {
    const node = doc.get(section, true);
    if (node === undefined) return appended(text, `${section}:\n  ${item}\n`);
    if (!isSeq(node) || node.flow || node.items.length === 0) return null;
    return insertedAfter(text, node.range![1], " ".repeat(dashColumn(text, node)) + item);
  });
}

/** Takes the entry at `index` out of a list, and the section with its last one. */
export function removeListed(text: string, section: Listed, index: number): string {
  return edited(text, (doc) => deleteIn(doc, section, index), (doc) => {
    const node = doc.get(section, true) as YAMLSeq;
    if (node.items.length === 1) return withoutSection(text, doc, section);
    return node.flow ? null : withoutItem(text, node, index);
  });
}

/** What a group's members are, as written; null when the document has no such group. */
export function membersIn(text: string, group: string): string[] | null {
  const groups = (parse(text) as Record<string, unknown> | null)?.["groups"];
  if (typeof groups !== "object" || groups === null || !Object.hasOwn(groups, group)) return null;
  const value = (groups as Record<string, unknown>)[group] ?? [];
  return (Array.isArray(value) ? value : [value]).map(String);
}

/** The roles of a document, as written. */
export function rolesIn(text: string): Readonly<Record<string, readonly unknown[]>> {
  return (parse(text) as Record<string, Record<string, unknown[]>> | null)?.["roles"] ?? {};
}

/** How many entries a list of a document has. */
export function countListed(text: string, section: Listed): number {
  const list = (parse(text) as Record<string, unknown> | null)?.[section];
  return Array.isArray(list) ? list.length : 0;
}

/**
 * The text after a change: by cutting where `cut` can and its result means the same as `change`,
 * else as the parser writes it.
 */
function edited(
  text: string,
  change: (doc: Document) => void,
  cut: (doc: Document) => string | null,
): string {
  const wanted = parseDocument(text);
  change(wanted);
  const meaning = JSON.stringify(wanted.toJS() ?? {});
  const result = cut(parseDocument(text));
  if (result !== null && meaningOf(result) === meaning) return result;
  const rewritten = wanted.toString({ lineWidth: 0 });
  assert(meaningOf(rewritten) === meaning, "the edit changed more");
  return rewritten;
}

function meaningOf(text: string): string | null {
  const doc = parseDocument(text);
  return doc.errors.length > 0 ? null : JSON.stringify(doc.toJS() ?? {});
}

function setMembers(doc: Document, group: string, next: (old: string[]) => string[]): void {
  const value = doc.getIn(["groups", group]);
  const old = isSeq(value)
    ? value.items.map((item) => String(isScalar(item) ? item.value : item))
    : value === null || value === undefined
    ? []
    : [String(value)];
  doc.setIn(["groups", group], doc.createNode(next(old)));
}

function addTo(doc: Document, section: Listed, value: unknown): void {
  if (isSeq(doc.get(section, true))) doc.addIn([section], doc.createNode(value));
  else doc.set(section, doc.createNode([value]));
}

function deleteIn(doc: Document, section: string, key: string | number): void {
  doc.deleteIn([section, key]);
  const rest = doc.get(section, true);
  if ((isMap(rest) || isSeq(rest)) && rest.items.length === 0) doc.delete(section);
}

function pairOf(map: YAMLMap, name: string): Pair | undefined {
  return map.items.find(({ key }) => isScalar(key) && String(key.value) === name);
}

function valueOf(doc: Document, group: string): unknown {
  return doc.getIn(["groups", group], true);
}

/** Where a pair's value ends, or its key when it has none. */
function endOf({ key, value }: Pair): number {
  return (value as Node | null)?.range?.[1] ?? (key as Node).range![1];
}

/** With another value for a group, where the old one is a line's end or a list of lines. */
function withValue(text: string, doc: Document, group: string, value: string): string | null {
  const pair = pairOf(doc.get("groups", true) as YAMLMap, group);
  if (!pair) return null;
  const old = pair.value as Node | null;
  const keyEnd = (pair.key as Node).range![1];
  const colon = text.indexOf(":", keyEnd) + 1;
  const isBlock = isSeq(old) && !old.flow;
  if (old?.range && !isBlock && old.range[1] > old.range[0]) {
    return text.slice(0, old.range[0]) + value + text.slice(old.range[1]);
  }
  const rest = isBlock ? trimmedEnd(text, old.range![1]) : colon;
  return `${text.slice(0, colon)} ${value}${text.slice(rest)}`;
}

function withItem(text: string, seq: YAMLSeq, item: string): string | null {
  const last = seq.items.at(-1) as Node | undefined;
  if (!last) {
    const [start, end] = seq.range!;
    return `${text.slice(0, start)}[${item}]${text.slice(end)}`;
  }
  if (seq.flow) {
    const end = last.range![1];
    return `${text.slice(0, end)}, ${item}${text.slice(end)}`;
  }
  return insertedAfter(text, last.range![1], `${" ".repeat(dashColumn(text, seq))}- ${item}`);
}

function withoutItem(text: string, seq: YAMLSeq, index: number): string | null {
  const [before, item, after] = [seq.items[index - 1], seq.items[index], seq.items[index + 1]]
    .map((node) => (node as Node | undefined)?.range ?? null);
  if (!item) return null;
  if (!seq.flow) return withoutLines(text, item[0], item[1]);
  if (before) return text.slice(0, before[1]) + text.slice(item[1]);
  return text.slice(0, item[0]) + text.slice(after ? after[0] : item[1]);
}

function withoutSection(text: string, doc: Document, section: string): string | null {
  const root = doc.contents;
  const pair = isMap(root) && !root.flow ? pairOf(root as YAMLMap, section) : undefined;
  return pair ? withoutLines(text, (pair.key as Node).range![0], endOf(pair)) : null;
}

/** Without the lines from the one that holds `start` to the one that holds `end`. */
function withoutLines(text: string, start: number, end: number): string {
  const from = text.lastIndexOf("\n", start - 1) + 1;
  const to = text.indexOf("\n", trimmedEnd(text, end));
  return text.slice(0, from) + (to < 0 ? "" : text.slice(to + 1));
}

/** With a line below the one in which `end` is. */
function insertedAfter(text: string, end: number, line: string): string {
  const at = text.indexOf("\n", trimmedEnd(text, end));
  return at < 0 ? `${text}\n${line}\n` : `${text.slice(0, at + 1)}${line}\n${text.slice(at + 1)}`;
}

function appended(text: string, part: string): string {
  return text === "" || text.endsWith("\n") ? text + part : `${text}\n${part}`;
}

/** The end of what is written before `end`: the parser counts line breaks behind it in. */
function trimmedEnd(text: string, end: number): number {
  return text.slice(0, end).trimEnd().length;
}

function columnOf(text: string, offset: number): number {
  return offset - (text.lastIndexOf("\n", offset - 1) + 1);
}

/** Where the dashes of a list stand. */
function dashColumn(text: string, seq: YAMLSeq): number {
  const first = (seq.items[0] as Node).range![0];
  return columnOf(text, text.lastIndexOf("-", first - 1));
}

/** A word as YAML, quoted where it would mean something else, also inside of brackets. */
function scalarText(word: string): string {
  const isPlain = /^[A-Za-z0-9_./@+:-]+$/.test(word) && !word.startsWith("-") &&
    !word.endsWith(":") && parse(word) === word;
  return isPlain ? word : JSON.stringify(word);
}

/** YAML on one line. */
function flowText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flowText).join(", ")}]`;
  if (typeof value !== "object" || value === null) return scalarText(String(value));
  const entries = Object.entries(value).map(([key, each]) => `${key}: ${flowText(each)}`);
  return `{ ${entries.join(", ")} }`;
}
