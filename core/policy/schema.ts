/**
 * What may stand in a policy document? Its shape, strict: a key that is not here is an error. What
 * the texts in it mean is read by `parse.ts`. Editors get the same shape as JSON Schema.
 * @module
 */
import { z } from "zod";
import { objectForm, type ObjectKind, RIGHTS } from "./objects.ts";
import { NAME_FORM, NAME_PATTERN } from "./subject.ts";

/** Longest list: bounds the work that one document can ask for. */
export const MAX_ENTRIES = 10_000;

function oneOrMany<T extends z.ZodType>(item: T, what: string, least = 1) {
  return z.union([item, z.array(item).min(least).max(MAX_ENTRIES)], {
    error: `must be ${what} or a list of them`,
  });
}

function subjects(description: string) {
  return oneOrMany(z.string().min(1), "a subject").meta({ description });
}

function ports() {
  return oneOrMany(
    z.union([z.int(), z.string().min(1)]),
    "a port, a range, a protocol or a service",
  )
    .meta({
      description:
        "22, 8000-8010, tcp/443, udp/53, tcp, udp, icmp, any, or a service; a number alone is TCP and UDP",
    });
}

function objects(kind: ObjectKind) {
  return oneOrMany(z.string().min(1), "a name").optional()
    .meta({ description: `Which ${kind}: each ${objectForm(kind).replace(/^must be /, "")}` });
}

function named<T extends z.ZodType>(value: T, description: string) {
  return z.record(z.string().regex(NAME_PATTERN, NAME_FORM), value).optional().meta({
    description,
  });
}

function list<T extends z.ZodType>(item: T, description: string) {
  return z.array(item).max(MAX_ENTRIES).optional().meta({ description });
}

const comment = z.string().max(1000).optional().meta({
  description: "Why; shown where this decides something",
});
const action = z.enum(["allow", "deny"]).optional().meta({
  description: "allow when absent; what any rule denies, none can allow",
});
const right = z.enum(RIGHTS).meta({ description: "Includes the rights before it" });
const kinds = {
  buckets: objects("buckets"),
  shares: objects("shares"),
  nfs: objects("nfs"),
  panels: objects("panels"),
};

const Rule = z.strictObject({
  action,
  from: subjects("Whose packets"),
  to: subjects("To whose nodes; self: those of the source's own user"),
  ports: ports(),
  comment,
});

const Binding = z.strictObject({
  action,
  to: subjects("Who gets the rights, or is denied them"),
  role: oneOrMany(z.string().min(1), "a role").optional().meta({
    description: "Rights by name; objects named beside it narrow them",
  }),
  right: right.optional(),
  ...kinds,
  comment,
});

const Exit = z.strictObject({
  action,
  offer: subjects("Nodes that may be exits"),
  use: subjects("Who may reach the Internet through them"),
  comment,
});

const Route = z.strictObject({
  action,
  prefix: oneOrMany(z.string().min(1), "a network such as 192.168.7.0/24"),
  offer: subjects("Nodes that may offer these networks"),
  use: subjects("Who may reach them"),
  ports: ports().optional(),
  comment,
});

function targets(description: string) {
  return oneOrMany(z.string().min(1), "a target such as nas:443").optional().meta({ description });
}

const Test = z.strictObject({
  from: subjects("Who tries"),
  allow: targets("What each of them must reach: nas:443, tag:server:ssh, bucket:media:read"),
  deny: targets("What none of them may reach"),
  comment,
});

/** One file of a policy. */
export const PolicyFile = z.strictObject({
  groups: named(
    oneOrMany(z.string().min(1), "a subject", 0).nullable(),
    "Groups and their members: users, nodes, tags, other groups",
  ),
  tags: named(
    z.strictObject({
      owners: subjects("Who may put the tag on nodes, besides admins").optional(),
    }).nullable(),
    "Tags and who may use them",
  ),
  services: named(ports(), "Port sets by name"),
  roles: named(z.array(z.strictObject({ right, ...kinds })).min(1), "Rights by name"),
  bindings: list(Binding, "Who has which rights on buckets, shares, NFS mounts and panels"),
  rules: list(Rule, "Who may send packets to whom; what no rule allows is denied"),
  exits: list(Exit, "Exit nodes and their users"),
  routes: list(Route, "Networks behind nodes and their users"),
  tests: list(Test, "What must stay true; a policy that fails one is not applied"),
});
export type PolicyFile = z.input<typeof PolicyFile>;

/** The schema for editors: JSON Schema, draft 2020-12. */
export function policyJsonSchema(): Record<string, unknown> {
  return {
    title: "TunnelMesh policy",
    ...z.toJSONSchema(PolicyFile, { io: "input" }),
  };
}
