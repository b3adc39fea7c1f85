/**
 * What is changed on a system without marks and policy rules (macOS, Windows) for an exit: one item
 * for each thing that is there afterwards and was not before, with all that it takes to undo it.
 *
 * A record of these is written before the first of them is made, so what it says is checked like
 * anything else that is read from a file.
 * @module
 */
import { z } from "zod";
import { parseIp, parsePrefix } from "../ip.ts";

/** A program and its arguments as they are handed over, without a shell, and what it reads. */
export interface Command {
  readonly argv: readonly [program: string, ...args: string[]];
  readonly input: string;
}

/** Names of interfaces: no character that a program could take for anything else. */
const INTERFACE = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;
/** What systems let an address of the link carry: its interface, as in `fe80::1%en0`. */
const Gateway = z.string().refine((text) => {
  const [address, zone, ...rest] = text.split("%");
  return parseIp(address!) !== null && rest.length === 0 &&
    (zone === undefined || INTERFACE.test(zone));
});

const Route = z.strictObject({
  kind: z.literal("route"),
  prefix: z.string().refine((text) => parsePrefix(text) !== null),
  /** The next router; null: the network is on the interface itself. */
  gateway: Gateway.nullable(),
  /** Where it leads; null without a gateway: nowhere, packets are refused. */
  interface: z.string().regex(INTERFACE).nullable(),
});

/** One thing that was changed. */
export const Change = z.discriminatedUnion("kind", [
  Route,
  /** Rules of pf. */
  z.strictObject({
    kind: z.literal("anchor"),
    name: z.string().regex(/^(tunnelmesh\/|com\.apple\/000\.tunnelmesh\.)[\w.-]{1,80}$/),
  }),
  /** A reference that keeps pf enabled. */
  z.strictObject({ kind: z.literal("pf"), token: z.string().regex(/^\d{1,20}$/) }),
  /** A setting of the kernel, with its former value. */
  z.strictObject({
    kind: z.literal("sysctl"),
    name: z.enum(["net.inet.ip.forwarding", "net.inet6.ip6.forwarding"]),
    value: z.string().regex(/^\d{1,10}$/),
  }),
  /** A rule of Windows Firewall. */
  z.strictObject({
    kind: z.literal("block"),
    name: z.string().regex(/^tunnelmesh_exit_[\w.-]{1,80}$/),
  }),
  /** What leads all names to the node, known by this comment. */
  z.strictObject({
    kind: z.literal("names"),
    comment: z.string().regex(/^tunnelmesh_exit_[\w.-]{1,80}$/),
    servers: z.array(z.string().refine((text) => parseIp(text) !== null)),
  }),
]);
export type Change = z.infer<typeof Change>;
export type RouteChange = z.infer<typeof Route>;
export type NamesChange = Extract<Change, { kind: "names" }>;

/** What keeps traffic from leaving: made first and undone last. */
function isGuard({ kind }: Change): boolean {
  return kind === "anchor" || kind === "block" || kind === "pf";
}

/** Whether two are the same; of a setting its name decides, since the record keeps the first value. */
export function isSame(a: Change, b: Change): boolean {
  if (a.kind === "sysctl" && b.kind === "sysctl") return a.name === b.name;
  return JSON.stringify(Change.parse(a)) === JSON.stringify(Change.parse(b));
}

/** The order of undoing: the newest first, then what kept traffic from leaving. */
export function undoOrder(changes: readonly Change[]): { rest: Change[]; guards: Change[] } {
  return {
    rest: changes.filter((change) => !isGuard(change)).reverse(),
    // Rules go before the reference that keeps their filter enabled.
    guards: [
      ...changes.filter((change) => isGuard(change) && change.kind !== "pf"),
      ...changes.filter(({ kind }) => kind === "pf"),
    ],
  };
}

/** @throws {RangeError} when a program could take it for anything else. */
export function interfaceWord(name: string): string {
  if (!INTERFACE.test(name)) throw new RangeError(`"${name}" cannot be an interface's name`);
  return name;
}

/** A command that reads nothing. */
export function command(...argv: [string, ...string[]]): Command {
  return { argv, input: "" };
}

/** What leads names to the node's resolver; nothing where there is none. */
export function namesOf(context: string, resolver: string | null): NamesChange[] {
  const comment = `tunnelmesh_exit_${context}`;
  return resolver === null ? [] : [{ kind: "names", comment, servers: [resolver] }];
}
