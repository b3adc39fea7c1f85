/**
 * What the local API says of the packet filter, and what it is asked.
 * @module
 */
import { z } from "zod";
import { type FilterRule, type Layer, LAYERS, PROTOCOLS } from "../filter/rules.ts";
import { parsePortRange, PORT_FORM } from "../filter/written.ts";
import type { PeerId } from "../ids.ts";
import { parseSubject } from "../policy/subject.ts";

/** Longest life of a temporary rule: a year. What should last longer belongs into a file. */
const MAX_TTL_MS = 366 * 86_400_000;

const Ports = z.string().refine((text) => parsePortRange(text) !== null, { error: PORT_FORM });
const Source = z.string().refine((text) => {
  const subject = parseSubject(text);
  return subject !== null && subject.kind !== "self";
}, { error: "must be user:NAME, node:NAME, tag:NAME, group:NAME, everyone or a bare name" });

/** `POST /v1/filter/add`. */
export const FilterAddRequest = z.strictObject({
  action: z.enum(["allow", "deny"]).default("allow"),
  protocol: z.enum(PROTOCOLS).default("any"),
  ports: Ports.optional(),
  from: Source.default("everyone"),
  ttlMs: z.int().min(1000).max(MAX_TTL_MS).optional(),
  comment: z.string().max(200).default(""),
}).refine(({ protocol, ports }) => protocol !== "icmp" || ports === undefined, {
  error: "ICMP has no ports",
});
export type FilterAddRequest = z.infer<typeof FilterAddRequest>;

/** `POST /v1/filter/remove`: all temporary rules that are like this. */
export const FilterRemoveRequest = z.strictObject({
  id: z.string().max(100).optional(),
  protocol: z.enum(PROTOCOLS).optional(),
  ports: Ports.optional(),
  from: Source.optional(),
}).refine((request) => Object.keys(request).length > 0, { error: "says nothing" });
export type FilterRemoveRequest = z.infer<typeof FilterRemoveRequest>;

/** `GET /v1/filter/trace?from=&port=`. */
export const FilterTraceRequest = z.strictObject({
  from: z.string().min(1).max(255),
  /** `443` (TCP), `tcp/443`, `udp/53`, `ping`, `icmp`, or a service's name. */
  port: z.string().min(1).max(100),
});
export type FilterTraceRequest = z.infer<typeof FilterTraceRequest>;

/** One rule, of whatever layer. */
export interface FilterRuleReport {
  readonly id: string;
  readonly layer: Layer;
  readonly action: FilterRule["action"];
  /** `tcp/22`, `8000-8010` (TCP and UDP), `ping`, `any`. */
  readonly traffic: string;
  /** Whose packets: a subject, or names of peers. */
  readonly from: string;
  /** How many peers that are at present; null for every member. */
  readonly peers: number | null;
  /** Networks behind this node that it is about; null for this node itself. */
  readonly to: readonly string[] | null;
  /** Packets that it decided of. */
  readonly hits: number;
  /** Null for one that does not expire. */
  readonly expiresInMs: number | null;
  /** File with line, or what made it. */
  readonly where: string;
  readonly comment: string;
}

/** `GET /v1/filter`. */
export interface FilterReport {
  /** What becomes of packets that no rule speaks of. */
  readonly defaultAction: "allow" | "deny";
  /** Whether the policy of the mesh is known. */
  readonly hasPolicy: boolean;
  /** Why the rules are not used; null when they are. */
  readonly problem: string | null;
  readonly rules: readonly FilterRuleReport[];
  /** Packets that came in and were dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
}

/** A rule that matches a packet, and what came of it. */
export interface TracedRule extends FilterRuleReport {
  /** `decided` one, `same` says the same and was not asked, `overruled` says the contrary. */
  readonly part: "decided" | "same" | "overruled";
}

/** `GET /v1/filter/trace`: what would happen to the first packet of a flow. */
export interface FilterTrace {
  readonly from: { readonly id: PeerId | null; readonly name: string };
  /** `tcp/443`. */
  readonly traffic: string;
  readonly verdict: "allow" | "deny";
  /** The rules that match; none is why it is denied when nothing decided. */
  readonly rules: readonly TracedRule[];
  /** The rule that takes even answers from the peer, if one does. */
  readonly cutOffBy: string | null;
}

/** In `GET /v1/status`: enough to watch the filter. */
export interface FilterStatus {
  readonly defaultAction: "allow" | "deny";
  readonly problem: string | null;
  /** How many rules each layer has. */
  readonly layers: Readonly<Record<Layer, number>>;
  /** Packets that each rule decided of, by its id; only those of which it did. */
  readonly hits: Readonly<Record<string, number>>;
}

/** No rules of any layer. */
export function noRules(): Record<Layer, number> {
  return Object.fromEntries(LAYERS.map((layer) => [layer, 0])) as Record<Layer, number>;
}

/** What the API calls. */
export interface FilterActions {
  report(): FilterReport;
  /** @throws {MeshError} `usage`, `peer-unknown` */
  add(request: FilterAddRequest): FilterRuleReport;
  /** What was removed. @throws {MeshError} `usage` when nothing is like that */
  remove(request: FilterRemoveRequest): FilterRuleReport[];
  /** @throws {MeshError} `usage`, `peer-unknown` */
  trace(request: FilterTraceRequest): FilterTrace;
}
