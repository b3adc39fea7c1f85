/**
 * Routes and policy rules as data, and as lines for `ip -batch`.
 *
 * Both carry a protocol number of this program, so that what it made can be told from what others
 * made.
 * @module
 */

/** Whose routes and rules: a number that nobody else uses (rt_protos of iproute2), ASCII "T". */
export const ROUTE_PROTOCOL = 84;

export type Family = 4 | 6;

/** A route of a table of its own. */
export interface Route {
  readonly family: Family;
  readonly prefix: string;
  readonly table: number;
  /** Null: unreachable, used when nothing better is there. */
  readonly device: string | null;
}

/** What a rule asks of a packet; what is absent matches everything. */
export interface RuleMatch {
  readonly mark?: number;
  readonly to?: string;
  readonly protocol?: "tcp" | "udp";
  readonly port?: number;
}

/** A policy rule: which table packets are looked up in. */
export interface PolicyRule {
  readonly family: Family;
  /** The least comes first. */
  readonly priority: number;
  readonly match: RuleMatch;
  /** {@link MAIN_TABLE} or one of our own. */
  readonly table: number;
  /** Ignores what the table says about prefixes this short or shorter. */
  readonly suppressLength?: number;
}

/** The table that holds the machine's own routes (rt_tables of iproute2). */
export const MAIN_TABLE = 254;
/** The greatest metric comes last; others use greater ones to be overtaken by nobody. */
const LAST_METRIC = 4_278_198_272;

/** What stands behind `ip route replace` or `ip route delete`. */
export function routeWords(route: Route): string {
  const where = route.device === null
    ? `unreachable ${route.prefix} metric ${LAST_METRIC}`
    : `${route.prefix} dev ${route.device}`;
  return `${where} table ${route.table} proto ${ROUTE_PROTOCOL}`;
}

/** What stands behind `ip rule add` or `ip rule delete`. */
export function ruleWords(rule: PolicyRule): string {
  const { mark, to, protocol, port } = rule.match;
  const words = [`priority ${rule.priority}`];
  if (to !== undefined) words.push(`to ${to}`);
  if (mark !== undefined) words.push(`fwmark 0x${mark.toString(16)}`);
  if (protocol !== undefined) words.push(`ipproto ${protocol}`);
  if (port !== undefined) words.push(`dport ${port}`);
  words.push(`lookup ${rule.table === MAIN_TABLE ? "main" : rule.table}`);
  if (rule.suppressLength !== undefined) {
    words.push(`suppress_prefixlength ${rule.suppressLength}`);
  }
  return [...words, `protocol ${ROUTE_PROTOCOL}`].join(" ");
}

/** The lines for `ip -4 -batch` or `ip -6 -batch` that make present rules the wanted ones. */
export function ruleChanges(present: readonly string[], wanted: readonly string[]): string[] {
  // New ones first: until then the old ones decide, and not the machine's default route.
  const added = wanted.filter((rule) => !present.includes(rule));
  const removed = present.filter((rule) => !wanted.includes(rule));
  return [
    ...added.map((rule) => `rule add ${rule}`),
    ...removed.map((rule) => `rule delete ${rule}`),
  ];
}

/** One rule as `ip -Numeric -json rule show` prints it. */
interface ListedRule {
  readonly priority: number;
  readonly dst?: string;
  readonly dstlen?: number;
  readonly fwmark?: string;
  readonly ipproto?: string;
  readonly dport?: number;
  readonly table?: string;
  readonly suppress_prefixlen?: number;
  readonly protocol?: string;
}

/** The words of those rules in a listing that this program made with priorities from `first` on. */
export function ownRules(listing: string, first: number, count: number): string[] {
  const rules = JSON.parse(listing || "[]") as ListedRule[];
  return rules.filter(({ priority, protocol }) =>
    protocol === `${ROUTE_PROTOCOL}` && priority >= first && priority < first + count
  ).map(wordsOfListed);
}

/** `ip` writes `tcp`, `6` or `ipproto-6`, depending on its version. */
function protocolOf(text: string): "tcp" | "udp" {
  return /^tcp$|^(ipproto-)?6$/.test(text) ? "tcp" : "udp";
}

function wordsOfListed(listed: ListedRule): string {
  const { priority, dst, dstlen, fwmark, ipproto, dport, table, suppress_prefixlen } = listed;
  const host = dst?.includes(":") ? 128 : 32;
  const match = {
    ...(fwmark === undefined ? {} : { mark: Number(fwmark) }),
    ...(dst === undefined ? {} : { to: `${dst}/${dstlen ?? host}` }),
    ...(ipproto === undefined ? {} : { protocol: protocolOf(ipproto) }),
    ...(dport === undefined ? {} : { port: dport }),
  };
  return ruleWords({
    family: dst?.includes(":") ? 6 : 4,
    priority,
    match,
    table: Number(table),
    ...(suppress_prefixlen === undefined ? {} : { suppressLength: suppress_prefixlen }),
  });
}

/** What `ip -Numeric` writes for a route that refuses. */
const RTN_UNREACHABLE = "7";

/** One route as `ip -Numeric -details -json route show table` prints it. */
interface ListedRoute {
  readonly dst: string;
  readonly dev?: string;
  readonly type?: string;
  readonly protocol?: string;
}

/**
 * The lines for `ip -batch` that remove this program's routes of a listing that are not wanted.
 * Null when the table holds a route of somebody else.
 */
export function staleRoutes(
  listing: string,
  family: Family,
  table: number,
  wanted: readonly Route[],
): string[] | null {
  const routes = JSON.parse(listing || "[]") as ListedRoute[];
  if (routes.some(({ protocol }) => protocol !== `${ROUTE_PROTOCOL}`)) return null;
  const words = wanted.filter((route) => route.family === family).map(routeWords);
  return routes.map(({ dst, dev, type }) => {
    const isUnreachable = type === "unreachable" || type === RTN_UNREACHABLE;
    const prefix = dst === "default" ? (family === 4 ? "0.0.0.0/0" : "::/0") : dst;
    return routeWords({ family, prefix, table, device: isUnreachable ? null : dev ?? null });
  }).filter((each) => !words.includes(each)).map((each) => `route delete ${each}`);
}
