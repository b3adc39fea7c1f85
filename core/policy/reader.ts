/**
 * What do the texts in one file of a policy mean? Subjects, ports and objects, with the names that
 * the whole document defines.
 * @module
 */
import type { Path } from "../config/source.ts";
import type { RuleOrigin } from "../filter/rules.ts";
import { parsePrefix, type Prefix } from "../ip.ts";
import { type Grant, levelOf, OBJECT_KIND_NAMES, objectForm, type ObjectKind } from "./objects.ts";
import { type ObjectPath, parseObjectPath, type PolicyObject, type Right } from "./objects.ts";
import { type PolicySource, type Problems, shown, suggestion } from "./problems.ts";
import { formatSubject, parseSubject, type Subject, SUBJECT_FORM } from "./subject.ts";
import { parseTraffic, PORTS_FORM, type Traffic, union } from "./traffic.ts";

/** Everything that the files of a document define, by name. */
export interface Names {
  readonly groups: ReadonlySet<string>;
  readonly tags: ReadonlySet<string>;
  readonly services: ReadonlyMap<string, Traffic>;
  readonly roles: ReadonlyMap<string, readonly Grant[]>;
}

/** A value that may stand alone or in a list. */
export type OneOrMany<T> = T | readonly T[];

/** What a binding or a role says about objects. */
export type ObjectLists = { readonly [kind in ObjectKind]?: OneOrMany<string> | undefined };

/** Reads the values of one file; what is wrong goes to `problems` and is left out. */
export class Reader {
  readonly source: PolicySource;
  readonly problems: Problems;
  readonly names: Names;

  constructor(source: PolicySource, problems: Problems, names: Names) {
    this.source = source;
    this.problems = problems;
    this.names = names;
  }

  add(path: Path, text: string): void {
    this.problems.add(this.source, path, text);
  }

  origin(path: Path, comment: string | undefined): RuleOrigin {
    return { where: this.source.where(path), comment: comment ?? "" };
  }

  subjects(value: OneOrMany<string>, path: Path, maySelf = false): Subject[] {
    return each(value, path).flatMap(([text, place]) => this.subject(text, place, maySelf) ?? []);
  }

  subject(text: string, path: Path, maySelf = false): Subject | null {
    const subject = parseSubject(text);
    if (subject === null) {
      const [kind, ...name] = text.split(":");
      const kinds = ["user", "node", "tag", "group"].map((each) => [each, ...name].join(":"));
      const near = name.length > 0 && kind !== "" ? suggestion(text, kinds) : "";
      this.add(path, SUBJECT_FORM + shown(text) + near);
      return null;
    }
    if (subject.kind === "self" && !maySelf) {
      this.add(path, "must not be self, which only `to` of a rule knows");
      return null;
    }
    if (subject.kind === "group" && !this.names.groups.has(subject.name)) {
      const near = suggestion(subject.name, this.names.groups);
      this.add(path, `names the group "${subject.name}", which is not defined${near}`);
      return null;
    }
    return subject.kind === "bare" ? this.#bare(subject.name, path) : subject;
  }

  /** Groups and tags of the document are known here; users and nodes only to the mesh. */
  #bare(name: string, path: Path): Subject | null {
    const isGroup = this.names.groups.has(name);
    const isTag = this.names.tags.has(name);
    if (isGroup && isTag) {
      this.add(path, `must be group:${name} or tag:${name}: "${name}" is a group and a tag`);
      return null;
    }
    if (isGroup) return { kind: "group", name };
    return isTag ? { kind: "tag", name } : { kind: "bare", name };
  }

  traffic(value: OneOrMany<string | number>, path: Path): Traffic {
    return union(
      ...each(value, path).map(([item, place]) => this.onePort(String(item), place) ?? []),
    );
  }

  onePort(text: string, path: Path): Traffic | null {
    const traffic = parseTraffic(text) ?? this.names.services.get(text);
    if (traffic !== undefined) return traffic;
    const near = /^\d/.test(text) ? "" : suggestion(text, this.names.services.keys());
    this.add(path, PORTS_FORM + shown(text) + near);
    return null;
  }

  prefixes(value: OneOrMany<string>, path: Path): Prefix[] {
    return each(value, path).flatMap(([text, place]) => this.prefix(text, place) ?? []);
  }

  prefix(text: string, path: Path): Prefix | null {
    const prefix = text.includes("/") ? parsePrefix(text) : null;
    if (prefix === null || prefix.bits === 0) {
      this.add(
        path,
        `must be a network without host bits, such as 192.168.7.0/24${shown(text)}` +
          (prefix ? "; exits are for the whole Internet" : ""),
      );
      return null;
    }
    return prefix;
  }

  /** The objects that `lists` names, kind by kind. */
  objects(lists: ObjectLists, path: Path): PolicyObject[] {
    return OBJECT_KIND_NAMES.flatMap((kind) => {
      const value = lists[kind];
      if (value === undefined) return [];
      return each(value, [...path, kind]).flatMap(([text, place]) => {
        const found = this.object(kind, text, place);
        return found === null ? [] : [{ kind, path: found }];
      });
    });
  }

  object(kind: ObjectKind, text: string, path: Path): ObjectPath | null {
    const found = parseObjectPath(kind, text);
    if (found === null) this.add(path, objectForm(kind) + shown(text));
    return found;
  }

  grants(right: Right, lists: ObjectLists, path: Path): Grant[] {
    if (OBJECT_KIND_NAMES.every((kind) => lists[kind] === undefined)) {
      this.add(path, "must say on what: buckets, shares, nfs or panels");
    }
    return this.objects(lists, path).map((object) => ({ ...object, level: levelOf(right) }));
  }
}

/** Each value with its path. */
export function each<T>(value: OneOrMany<T>, path: Path): [T, Path][] {
  return Array.isArray(value)
    ? value.map((item, i): [T, Path] => [item, [...path, i]])
    : [[value as T, path]];
}

/** Text of several subjects. */
export function formatSubjects(subjects: readonly Subject[]): string {
  return subjects.map(formatSubject).join(", ");
}
