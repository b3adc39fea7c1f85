/**
 * How do the resolvers of several contexts answer as one on their machine?
 *
 * A program's query reaches the resolver of any context, whichever the system leads to. That one
 * asks them all, the active context first, then `default`, then the others by name, and gives the
 * first answer that is not NXDOMAIN. So every mesh's names are found, a name in two meshes means
 * the active one's, and `nas.work.mesh` means `nas` of context `work`, since only its zone has that.
 *
 * What one resolver asks another has no RD flag ("recursion desired"), and is answered from its own
 * zone alone, so nothing goes round. It is sent from the other's own mesh address, which this
 * machine has only as long as that context runs: no query can leave the machine. Members of one
 * mesh who reach for the resolver of another are refused.
 * @module
 */
import { type Carrier, decodeQuery, FLAG, type Query, RCODE } from "../dns/message.ts";
import { reverseZones } from "../dns/reverse.ts";
import { withId } from "../dns/reply.ts";
import type { Zone } from "../dns/zone.ts";
import { SUFFIXES } from "../ids.ts";
import { type Ip, parseIp, prefixContains } from "../ip.ts";
import { type MeshInterface, meshInterfaces } from "../platform/linux/mesh_interfaces.ts";
import { closeAfter, exchangeTcp, exchangeUdp, randomId } from "./dns_exchange.ts";

const DNS_PORT = 53;
const DEFAULT = "default";
/** Another resolver of this machine answers at once or, when its context has none, never. */
const TIMEOUT_MS = 500;
/** One that did not answer is left alone for so long. */
const DISTRUST_MS = 10_000;
/** How long what was seen of contexts and interfaces counts. */
const FRESH_MS = 1_000;

/** Asks the resolver at an address of this machine; null when it does not answer. */
export type AskLocal = (ip: Ip, query: Query, carrier: Carrier) => Promise<Uint8Array | null>;

export interface ContextNamesOptions {
  /** This resolver's own. */
  readonly context: string;
  readonly zone: Zone;
  /** The context that users chose by `context use`, or null. */
  readonly active: () => string | null;
  /** Mesh interfaces of this machine, this context's own included. */
  readonly interfaces?: () => readonly MeshInterface[];
  readonly ask?: AskLocal;
  /** Monotonic milliseconds. */
  readonly clock?: () => number;
}

/** Names of all contexts that run on this machine; see the module's comment. */
export class ContextNames {
  readonly #options: Required<ContextNamesOptions>;
  readonly #silentUntil = new Map<string, number>();
  #seen: { readonly at: number; readonly others: readonly MeshInterface[] } | null = null;

  constructor(options: ContextNamesOptions) {
    this.#options = {
      interfaces: meshInterfaces,
      ask: askLocal,
      clock: () => performance.now(),
      ...options,
    };
  }

  /** Whether other contexts run, so that a name can have two meanings. */
  get hasOthers(): boolean {
    return this.#others().length > 0;
  }

  /** Whether a client is a member of another mesh than this resolver's. */
  isStranger(client: Ip): boolean {
    const bytes = parseIp(client);
    return bytes !== null &&
      this.#others().some(({ addresses, prefixes }) =>
        !addresses.includes(client) && prefixes.some((prefix) => prefixContains(prefix, bytes))
      );
  }

  /** The servers that are no resolvers of contexts: two that forward to each other find nothing. */
  withoutContexts(servers: readonly Ip[]): Ip[] {
    return servers.filter((ip) => !this.isResolver(ip));
  }

  /** Whether another context's resolver is at an address. */
  isResolver(ip: Ip): boolean {
    return this.#others().some(({ addresses }) => addresses.includes(ip));
  }

  /** The answer of all contexts to a program of this machine; null leaves it to this one's zone. */
  async answer(message: Uint8Array, carrier: Carrier): Promise<Uint8Array | null> {
    const others = this.#others();
    if (others.length === 0) return null;
    const decoded = decodeQuery(message);
    if (decoded.kind !== "query" || !(decoded.query.flags & FLAG.recursionDesired)) return null;
    const { query } = decoded;
    const { labels } = query.name;
    if (labels.at(-1) === "arpa") {
      const owner = others.find((each) => hasReverse(each, labels.join(".")));
      return owner ? await this.#ask(owner, query, carrier) : null;
    }
    if (labels.length < 2 || !SUFFIXES.includes(labels.at(-1)!)) return null;
    for (const other of this.#inOrder(others)) {
      const answer = other === null
        ? this.#own(message, carrier)
        : await this.#ask(other, query, carrier);
      if (answer !== null && (answer[3]! & FLAG.rcode) === RCODE.noError) return answer;
    }
    return null;
  }

  /** All contexts; null stands for this one. */
  #inOrder(others: readonly MeshInterface[]): (MeshInterface | null)[] {
    const { context, active } = this.#options;
    const first = active() ?? DEFAULT;
    const rank = (name: string) => name === first ? 0 : name === DEFAULT ? 1 : 2;
    const all = [
      { name: context, other: null },
      ...others.map((other) => ({
        name: other.context,
        other,
      })),
    ];
    all.sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1));
    return all.map(({ other }) => other);
  }

  #own(message: Uint8Array, carrier: Carrier): Uint8Array | null {
    const reply = this.#options.zone.answer(message, carrier);
    return reply.kind === "answer" ? reply.response : null;
  }

  async #ask(other: MeshInterface, query: Query, carrier: Carrier): Promise<Uint8Array | null> {
    const { ask, clock } = this.#options;
    const [ip] = other.addresses;
    if (ip === undefined || (this.#silentUntil.get(other.context) ?? 0) > clock()) return null;
    const answer = await ask(ip, query, carrier);
    if (answer === null) this.#silentUntil.set(other.context, clock() + DISTRUST_MS);
    return answer;
  }

  #others(): readonly MeshInterface[] {
    const { context, interfaces, clock } = this.#options;
    const now = clock();
    if (this.#seen === null || now - this.#seen.at > FRESH_MS) {
      const others = interfaces().filter((each) => each.context !== context);
      this.#seen = { at: now, others };
    }
    return this.#seen.others;
  }
}

function hasReverse({ prefixes }: MeshInterface, name: string): boolean {
  return prefixes.flatMap(reverseZones).some((zone) => name === zone || name.endsWith(`.${zone}`));
}

/** Asks as a program on that address would, without RD. */
async function askLocal(ip: Ip, query: Query, carrier: Carrier): Promise<Uint8Array | null> {
  const id = randomId();
  const message = withId(query.message, id);
  message[2]! &= ~(FLAG.recursionDesired >> 8);
  const question = { message, questionEnd: query.questionEnd };
  const guard = closeAfter(TIMEOUT_MS);
  const server = { ip, port: DNS_PORT };
  const answer = carrier === "udp"
    ? await exchangeUdp(server, question, guard, ip)
    : await exchangeTcp(server, question, guard);
  if (answer === null) return null;
  const mine = withId(answer, (query.message[0]! << 8) | query.message[1]!);
  // The client did ask for recursion, and sees that it is there.
  mine[2]! |= FLAG.recursionDesired >> 8;
  return mine;
}
