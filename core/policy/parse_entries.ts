/**
 * What does one rule, binding, exit, route or test of a document say?
 * @module
 */
import type { z } from "zod";
import type { Path } from "../config/source.ts";
import {
  formatObject,
  type Grant,
  narrower,
  OBJECT_KIND_NAMES,
  OBJECT_KINDS,
  type ObjectKind,
  RIGHTS,
} from "./objects.ts";
import type {
  Action,
  Binding,
  Exit,
  PolicyTest,
  Route,
  Rule,
  TestCase,
  TestTarget,
} from "./policy.ts";
import { shown, suggestion } from "./problems.ts";
import { each, type Reader } from "./reader.ts";
import type { PolicyFile } from "./schema.ts";
import { ALL_TRAFFIC, intersect, isBarePort, parseTraffic, type Traffic } from "./traffic.ts";

type File = z.input<typeof PolicyFile>;
type Item<Section extends keyof File> = NonNullable<File[Section]> extends readonly (infer T)[] ? T
  : never;

const TARGET_FORM = "must be SUBJECT:PORTS (nas:443, tag:server:ssh), bucket:NAME:RIGHT, " +
  "share:NAME:RIGHT, nfs:NAME:RIGHT, panel:NAME:RIGHT, exit:NODE or route:NETWORK";

/** `rules[i]`. */
export function readRule(reader: Reader, value: Item<"rules">, path: Path): Rule {
  return {
    action: value.action ?? "allow",
    from: reader.subjects(value.from, [...path, "from"]),
    to: reader.subjects(value.to, [...path, "to"], true),
    traffic: reader.traffic(value.ports, [...path, "ports"]),
    origin: reader.origin(path, value.comment),
  };
}

/** `bindings[i]`. */
export function readBinding(reader: Reader, value: Item<"bindings">, path: Path): Binding {
  return {
    action: value.action ?? "allow",
    to: reader.subjects(value.to, [...path, "to"]),
    grants: grantsOf(reader, value, path),
    origin: reader.origin(path, value.comment),
  };
}

function grantsOf(reader: Reader, value: Item<"bindings">, path: Path): Grant[] {
  const { role, right } = value;
  if ((role === undefined) === (right === undefined)) {
    reader.add(path, "must have either a role or a right");
    return [];
  }
  if (right !== undefined) return reader.grants(right, value, path);
  const grants = each(role!, [...path, "role"]).flatMap(([name, place]) => {
    const known = reader.names.roles.get(name);
    if (known !== undefined) return known;
    const near = suggestion(name, reader.names.roles.keys());
    reader.add(place, `names the role "${name}", which is not defined${near}`);
    return [];
  });
  return OBJECT_KIND_NAMES.every((kind) => value[kind] === undefined)
    ? grants
    : narrowed(reader, value, path, grants);
}

/** The parts of `grants` that lie in the objects of the binding. */
function narrowed(
  reader: Reader,
  value: Item<"bindings">,
  path: Path,
  grants: readonly Grant[],
): Grant[] {
  return reader.objects(value, path).flatMap((object) => {
    const inside = grants.filter(({ kind }) => kind === object.kind).flatMap((grant) => {
      const both = narrower(grant.path, object.path);
      return both === null ? [] : [{ ...grant, path: both }];
    });
    if (inside.length === 0 && grants.length > 0) {
      reader.add(
        [...path, object.kind],
        `names ${formatObject(object)}, which the role is not for`,
      );
    }
    return inside;
  });
}

/** `exits[i]`. */
export function readExit(reader: Reader, value: Item<"exits">, path: Path): Exit {
  return {
    action: value.action ?? "allow",
    offer: reader.subjects(value.offer, [...path, "offer"]),
    use: reader.subjects(value.use, [...path, "use"]),
    origin: reader.origin(path, value.comment),
  };
}

/** `routes[i]`. */
export function readRoute(reader: Reader, value: Item<"routes">, path: Path): Route {
  return {
    action: value.action ?? "allow",
    prefixes: reader.prefixes(value.prefix, [...path, "prefix"]),
    offer: reader.subjects(value.offer, [...path, "offer"]),
    use: reader.subjects(value.use, [...path, "use"]),
    traffic: value.ports === undefined
      ? ALL_TRAFFIC
      : reader.traffic(value.ports, [...path, "ports"]),
    origin: reader.origin(path, value.comment),
  };
}

/** `tests[i]`. */
export function readTest(reader: Reader, value: Item<"tests">, path: Path): PolicyTest {
  if (value.allow === undefined && value.deny === undefined) {
    reader.add(path, "must have allow or deny");
  }
  const cases = (expected: Action): TestCase[] =>
    each(value[expected] ?? [], [...path, expected]).flatMap(([text, place]) => {
      const target = readTarget(reader, text, place, expected);
      return target === null ? [] : [{ expected, target, text, where: reader.source.where(place) }];
    });
  return {
    from: reader.subjects(value.from, [...path, "from"]),
    cases: [...cases("allow"), ...cases("deny")],
  };
}

/** What one line of a test asks for. */
export function readTarget(
  reader: Reader,
  text: string,
  path: Path,
  expected: Action,
): TestTarget | null {
  const first = text.slice(0, text.indexOf(":"));
  const rest = text.slice(first.length + 1);
  if (first === "exit") {
    const via = reader.subject(rest, path);
    return via && { type: "exit", via };
  }
  if (first === "route") {
    const prefix = reader.prefix(rest, path);
    return prefix && { type: "route", prefix };
  }
  const colon = text.lastIndexOf(":");
  if (colon <= 0) {
    reader.add(path, TARGET_FORM + shown(text));
    return null;
  }
  const kind = OBJECT_KIND_NAMES.find((each) => OBJECT_KINDS[each] === first);
  if (kind !== undefined) return readObjectTarget(reader, kind, rest, path);
  const to = reader.subject(text.slice(0, colon), path);
  const traffic = reader.onePort(text.slice(colon + 1), path);
  if (to === null || traffic === null) return null;
  return { type: "traffic", to, traffic: askedFor(text.slice(colon + 1), traffic, expected) };
}

/** Who may connect to a port reaches it by TCP; who must not, by neither TCP nor UDP. */
function askedFor(text: string, traffic: Traffic, expected: Action): Traffic {
  return expected === "allow" && isBarePort(text)
    ? intersect(traffic, parseTraffic("tcp")!)
    : traffic;
}

function readObjectTarget(
  reader: Reader,
  kind: ObjectKind,
  text: string,
  path: Path,
): TestTarget | null {
  const colon = text.lastIndexOf(":");
  const right = RIGHTS.find((each) => each === text.slice(colon + 1));
  if (colon <= 0 || right === undefined) {
    const near = colon > 0 ? suggestion(text.slice(colon + 1), RIGHTS) : "";
    reader.add(path, `must end in :read, :write or :admin${shown(text)}${near}`);
    return null;
  }
  const object = reader.object(kind, text.slice(0, colon), path);
  return object && { type: "right", object: { kind, path: object }, right };
}
