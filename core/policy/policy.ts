/**
 * What a policy says, once its text has been understood: every name of a group, service or role is
 * known, no group contains itself, and each part can name the place where it is written.
 * @module
 */
import type { RuleOrigin } from "../filter/rules.ts";
import type { Prefix } from "../ip.ts";
import type { Grant, PolicyObject, Right } from "./objects.ts";
import type { Subject } from "./subject.ts";
import type { Traffic } from "./traffic.ts";

export type Action = "allow" | "deny";

/** Who belongs together. */
export interface Group {
  readonly members: readonly Subject[];
  readonly where: string;
}

/** Who may put a tag on nodes, besides admins. */
export interface Tag {
  readonly owners: readonly Subject[];
  readonly where: string;
}

/** Who may send what to whom. */
export interface Rule {
  readonly action: Action;
  readonly from: readonly Subject[];
  readonly to: readonly Subject[];
  readonly traffic: Traffic;
  readonly origin: RuleOrigin;
}

/** Who may, or may not, do what with which objects. */
export interface Binding {
  readonly action: Action;
  readonly to: readonly Subject[];
  readonly grants: readonly Grant[];
  readonly origin: RuleOrigin;
}

/** Which nodes may be exits, and for whom. A denial takes the use away, not the offer. */
export interface Exit {
  readonly action: Action;
  readonly offer: readonly Subject[];
  readonly use: readonly Subject[];
  readonly origin: RuleOrigin;
}

/** Which nodes may offer the networks behind them, and to whom. */
export interface Route {
  readonly action: Action;
  readonly prefixes: readonly Prefix[];
  readonly offer: readonly Subject[];
  readonly use: readonly Subject[];
  readonly traffic: Traffic;
  readonly origin: RuleOrigin;
}

/** What a test asks for: packets to nodes, a right on an object, or a way out of the mesh. */
export type TestTarget =
  | { readonly type: "traffic"; readonly to: Subject; readonly traffic: Traffic }
  | { readonly type: "right"; readonly object: PolicyObject; readonly right: Right }
  | { readonly type: "exit"; readonly via: Subject }
  | { readonly type: "route"; readonly prefix: Prefix };

/** One line of a test, as written. */
export interface TestCase {
  readonly expected: Action;
  readonly target: TestTarget;
  readonly text: string;
  readonly where: string;
}

/** What the author wants to stay true. */
export interface PolicyTest {
  readonly from: readonly Subject[];
  readonly cases: readonly TestCase[];
}

/** A whole policy. */
export interface Policy {
  readonly groups: ReadonlyMap<string, Group>;
  readonly tags: ReadonlyMap<string, Tag>;
  /** Port sets by name, the built-in ones included. */
  readonly services: ReadonlyMap<string, Traffic>;
  readonly bindings: readonly Binding[];
  readonly rules: readonly Rule[];
  readonly exits: readonly Exit[];
  readonly routes: readonly Route[];
  readonly tests: readonly PolicyTest[];
}
