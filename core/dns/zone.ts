/**
 * What does this node answer about the names of its mesh?
 *
 * It is authoritative for `tunnelmesh.`, `mesh.` and `tm.`, which hold the same names, and for the
 * reverse zones of the mesh's address ranges; every other query is the shell's to forward. All data
 * comes from the cached netmap, so answers need no network. An existing name without the type asked
 * for is NODATA and only an unknown name is NXDOMAIN, both with an SOA whose minimum is one second:
 * a name that appears is seen at once, and a missing AAAA never hides an A (musl and
 * systemd-resolved take NXDOMAIN for the whole name).
 *
 * A name follows RFC 8020: `dev` exists when `api.dev` does. ANY gets one set of records (RFC
 * 8482).
 * @module
 */
import { RESERVED_NAMES, SUFFIXES } from "../ids.ts";
import { formatIp, type Ip, parseIp, type Prefix, prefixContains } from "../ip.ts";
import {
  type Answer,
  answerLimit,
  type AnswerRecord,
  type Carrier,
  CLASS,
  decodeQuery,
  encodeAnswer,
  encodeError,
  type Query,
  RCODE,
  TYPE,
} from "./message.ts";
import { encodeName } from "./name.ts";
import { reverseName, reverseZones } from "./reverse.ts";

/** The most seconds that an answer may be kept, and the default. */
export const MAX_TTL_SECONDS = 5;
/** Seconds that a missing name may be kept; also the TTL of the SOA that says so (RFC 2308). */
export const NEGATIVE_TTL_SECONDS = 1;
/** Addresses of one type in one answer; `this` of a mesh with more coordinators names these. */
export const MAX_ADDRESSES = 64;

/** Names of the coordinators taken together. */
const COORDINATOR_NAMES: readonly string[] = ["this", "coordinator"];
/** Discovery of Designated Resolvers (RFC 9462 section 6.5): a forwarder says that it has none. */
const RESOLVER_ARPA = "resolver.arpa";

/** A node as the zone sees it. */
export interface ZoneNode {
  /** One label, lower case. */
  readonly name: string;
  /** Labels joined by dots. */
  readonly aliases: readonly string[];
  readonly addresses: readonly Ip[];
}

/** What to do with a query. */
export type ZoneReply =
  | { readonly kind: "answer"; readonly response: Uint8Array }
  /** Not a name of the mesh. */
  | { readonly kind: "forward"; readonly query: Query }
  | { readonly kind: "drop" };

/** What a name stands for. */
export interface ZoneLookup {
  /** The canonical name, e.g. `a.tunnelmesh`. */
  readonly name: string;
  readonly addresses: readonly Ip[];
  /** Name of the node, or null for the coordinators taken together. */
  readonly peer: string | null;
}

interface Entry {
  readonly peer: string | null;
  readonly v4: Uint8Array[];
  readonly v6: Uint8Array[];
}

/** The mesh's names; see the module's comment. */
export class Zone {
  readonly #ttlSeconds: number;
  /** Label that may stand between name and suffix. */
  readonly #context: string | null;
  #ranges: readonly Prefix[] = [];
  /** Names without suffix. Null marks a name that only has names below it. */
  #entries = new Map<string, Entry | null>();
  /** Apexes of the reverse zones. */
  #reverseZones = new Set<string>();
  /** Wire form of what each reverse name points at; null as in `#entries`. */
  #pointers = new Map<string, Uint8Array | null>();
  #nodes: readonly ZoneNode[] = [];
  #coordinators: readonly string[] = [];
  #serial = 0;

  /**
   * @param ttlSeconds How long an answer may be kept, 0 to {@link MAX_TTL_SECONDS}.
   * @param context What this machine calls the mesh: `nas.work.mesh` is `nas.mesh` of `work`.
   */
  constructor(ttlSeconds: number = MAX_TTL_SECONDS, context: string | null = null) {
    this.#context = context?.toLowerCase() ?? null;
    this.#ttlSeconds = Math.max(0, Math.min(ttlSeconds, MAX_TTL_SECONDS));
    this.#rebuild();
  }

  /** Replaces the address ranges of the mesh, whose reverse zones are answered here. */
  setRanges(ranges: readonly Prefix[]): void {
    this.#ranges = ranges;
    this.#rebuild();
  }

  /**
   * Replaces all names. Of two nodes that claim one name, the second is left out; of two that claim
   * one alias, the first has it; an alias never hides a node's name or a reserved one. What is no
   * valid name or address is left out.
   * @param coordinators Names of the nodes that `this` stands for.
   */
  setNodes(nodes: readonly ZoneNode[], coordinators: readonly string[]): void {
    this.#nodes = nodes;
    this.#coordinators = coordinators;
    this.#rebuild();
  }

  /** Apexes of the reverse zones, e.g. `30.172.in-addr.arpa`. */
  get reverseZones(): readonly string[] {
    return [...this.#reverseZones];
  }

  /** Whether an address lies in the mesh's ranges. */
  isMeshAddress(ip: Ip): boolean {
    const bytes = parseIp(ip);
    return bytes !== null && this.#ranges.some((range) => prefixContains(range, bytes));
  }

  /** What a name stands for; with or without suffix, in any case. Null when it is unknown. */
  lookup(name: string): ZoneLookup | null {
    const labels = name.toLowerCase().replace(/\.$/, "").split(".");
    const hasSuffix = labels.length > 1 && SUFFIXES.includes(labels.at(-1)!);
    const key = this.#keyOf(hasSuffix ? labels.slice(0, -1) : labels);
    const entry = this.#entries.get(key);
    if (!entry) return null;
    return {
      name: `${key}.${SUFFIXES[0]}`,
      addresses: [...entry.v4, ...entry.v6].map(formatIp),
      peer: entry.peer,
    };
  }

  /** Answers a message from a client. Never throws, whatever the bytes are. */
  answer(message: Uint8Array, carrier: Carrier): ZoneReply {
    const decoded = decodeQuery(message);
    if (decoded.kind === "drop") return decoded;
    if (decoded.kind === "error") {
      return { kind: "answer", response: encodeError(message, decoded.rcode) };
    }
    const { query } = decoded;
    const answer = this.#answerQuery(query);
    if (answer === null) return { kind: "forward", query };
    return { kind: "answer", response: encodeAnswer(query, answer, answerLimit(query, carrier)) };
  }

  #answerQuery(query: Query): Answer | null {
    const place = this.#locate(query.name.labels);
    if (place === null) return null;
    if ((query.edns?.version ?? 0) > 0) return failure(RCODE.badVers);
    if (query.class !== CLASS.in && query.class !== CLASS.any) return failure(RCODE.refused);
    if (query.type === TYPE.axfr || query.type === TYPE.ixfr) return failure(RCODE.refused);
    const apexOffset = query.name.offsets[place.apexIndex]!;
    const soa: AnswerRecord = {
      owner: apexOffset,
      type: TYPE.soa,
      ttl: NEGATIVE_TTL_SECONDS,
      data: this.#soaData(apexOffset, place.isReverse),
    };
    if (!place.exists) {
      return {
        rcode: RCODE.nxDomain,
        isAuthoritative: true,
        answers: [],
        authority: [soa],
      };
    }
    const found = place.apexIndex === 0
      ? this.#apexRecords(query, soa, place.isReverse)
      : place.records(query);
    return {
      rcode: RCODE.noError,
      isAuthoritative: true,
      answers: found,
      authority: found.length === 0 ? [soa] : [],
    };
  }

  /** Finds the zone and the name in it; null when the name is in none of ours. */
  #locate(labels: readonly string[]): Place | null {
    const last = labels.length - 1;
    if (last < 0) return null;
    if (SUFFIXES.includes(labels[last]!)) {
      const entry = last === 0 ? null : this.#entries.get(this.#keyOf(labels.slice(0, last)));
      return {
        apexIndex: last,
        isReverse: false,
        exists: entry !== undefined,
        records: (query) => entry ? this.#addressRecords(query, entry) : [],
      };
    }
    if (labels[last] !== "arpa") return null;
    for (let i = last - 1; i >= 0; i--) {
      const apex = labels.slice(i).join(".");
      if (apex === RESOLVER_ARPA) {
        return { apexIndex: i, isReverse: true, exists: true, records: () => [] };
      }
      if (!this.#reverseZones.has(apex)) continue;
      const target = i === 0 ? null : this.#pointers.get(labels.join("."));
      return {
        apexIndex: i,
        isReverse: true,
        exists: target !== undefined,
        records: (query) => target ? this.#pointerRecords(query, target) : [],
      };
    }
    return null;
  }

  /** The name without suffix and, unless it means something by itself, without the context. */
  #keyOf(labels: readonly string[]): string {
    const name = labels.join(".");
    const isQualified = labels.length > 1 && labels.at(-1) === this.#context;
    return isQualified && !this.#entries.has(name) ? labels.slice(0, -1).join(".") : name;
  }

  #apexRecords(query: Query, soa: AnswerRecord, isReverse: boolean): AnswerRecord[] {
    if (query.type === TYPE.soa || query.type === TYPE.any) {
      return [{ ...soa, ttl: this.#ttlSeconds }];
    }
    if (query.type !== TYPE.ns) return [];
    const data = isReverse ? encodeName(`this.${SUFFIXES[0]}`)! : below("this", soa.owner);
    return [{ owner: soa.owner, type: TYPE.ns, ttl: this.#ttlSeconds, data }];
  }

  #addressRecords(query: Query, entry: Entry): AnswerRecord[] {
    const isAny = query.type === TYPE.any;
    const owner = query.name.offsets[0]!;
    const ttl = this.#ttlSeconds;
    const record = (type: number) => (data: Uint8Array) => ({ owner, type, ttl, data });
    if (query.type === TYPE.a || (isAny && entry.v4.length > 0)) {
      return entry.v4.map(record(TYPE.a));
    }
    return query.type === TYPE.aaaa || isAny ? entry.v6.map(record(TYPE.aaaa)) : [];
  }

  #pointerRecords(query: Query, target: Uint8Array): AnswerRecord[] {
    if (query.type !== TYPE.ptr && query.type !== TYPE.any) return [];
    const owner = query.name.offsets[0]!;
    return [{ owner, type: TYPE.ptr, ttl: this.#ttlSeconds, data: target }];
  }

  /** RFC 1035 section 3.3.13; the names end in pointers to the apex in the question. */
  #soaData(apexOffset: number, isReverse: boolean): Uint8Array {
    const primary = isReverse ? encodeName(`this.${SUFFIXES[0]}`)! : below("this", apexOffset);
    const mailbox = below("hostmaster", apexOffset);
    const data = new Uint8Array(primary.length + mailbox.length + 20);
    data.set(primary);
    data.set(mailbox, primary.length);
    const view = new DataView(data.buffer, primary.length + mailbox.length);
    // Refresh, retry and expiry are for secondary servers, which this zone has none of.
    [this.#serial, 60, 10, 600, NEGATIVE_TTL_SECONDS].forEach((n, i) => view.setUint32(4 * i, n));
    return data;
  }

  #rebuild(): void {
    this.#serial = (this.#serial + 1) >>> 0;
    this.#entries = new Map();
    this.#pointers = new Map();
    this.#reverseZones = new Set(this.#ranges.flatMap(reverseZones));
    const names = new Set(COORDINATOR_NAMES);
    const nodes = this.#nodes.filter((node) => {
      if (!isName(node.name, 1) || names.has(node.name)) return false;
      names.add(node.name);
      return true;
    });
    for (const node of nodes) {
      this.#addName(node.name, node);
      this.#addPointers(node);
    }
    for (const node of nodes) {
      for (const alias of node.aliases) {
        const isReserved = RESERVED_NAMES.includes(alias);
        if (!isReserved && isName(alias, Infinity)) this.#addName(alias, node);
      }
    }
    const isCoordinator = (node: ZoneNode) => this.#coordinators.includes(node.name);
    const addresses = nodes.filter(isCoordinator).flatMap((node) => node.addresses);
    for (const name of COORDINATOR_NAMES) this.#entries.set(name, entryOf(null, addresses));
    // What has names below it exists (RFC 8020).
    const context = this.#context;
    if (context !== null && !this.#entries.has(context)) this.#entries.set(context, null);
  }

  #addName(name: string, node: ZoneNode): void {
    if (this.#entries.get(name)) return;
    this.#entries.set(name, entryOf(node.name, node.addresses));
    addAncestors(this.#entries, name, "");
  }

  #addPointers(node: ZoneNode): void {
    const target = encodeName(`${node.name}.${SUFFIXES[0]}`)!;
    for (const ip of node.addresses) {
      const address = parseIp(ip);
      if (address === null) continue;
      const name = reverseName(address);
      const apex = [...ancestors(name)].find((ancestor) => this.#reverseZones.has(ancestor));
      if (apex === undefined || this.#pointers.get(name)) continue;
      this.#pointers.set(name, target);
      addAncestors(this.#pointers, name, apex);
    }
  }
}

/** Where a name is: `apexIndex` is the index of the zone's first label among the name's. */
interface Place {
  readonly apexIndex: number;
  readonly isReverse: boolean;
  readonly exists: boolean;
  readonly records: (query: Query) => AnswerRecord[];
}

function failure(rcode: number): Answer {
  return { rcode, isAuthoritative: false, answers: [], authority: [] };
}

/** Wire form of `label` followed by a pointer to the name at `offset`. */
function below(label: string, offset: number): Uint8Array {
  const bytes = new Uint8Array(label.length + 3);
  bytes[0] = label.length;
  for (let i = 0; i < label.length; i++) bytes[i + 1] = label.charCodeAt(i);
  bytes[label.length + 1] = 0xc0 | (offset >> 8);
  bytes[label.length + 2] = offset & 0xff;
  return bytes;
}

function entryOf(peer: string | null, addresses: readonly Ip[]): Entry {
  const parsed = [...new Set(addresses)].map(parseIp).filter((bytes) => bytes !== null);
  return {
    peer,
    v4: parsed.filter((bytes) => bytes.length === 4).slice(0, MAX_ADDRESSES),
    v6: parsed.filter((bytes) => bytes.length === 16).slice(0, MAX_ADDRESSES),
  };
}

/** Lower-case host-name labels joined by dots that leave room for the longest suffix. */
function isName(name: string, maxLabels: number): boolean {
  return /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(name) && name.length <= 240 &&
    name.split(".").length <= maxLabels;
}

/** The names above `name`, nearest first, without the root. */
function* ancestors(name: string): Generator<string> {
  for (let i = name.indexOf("."); i >= 0; i = name.indexOf(".", i + 1)) yield name.slice(i + 1);
}

/** Marks the names between `name` and `apex` as existing. */
function addAncestors(names: Map<string, unknown>, name: string, apex: string): void {
  for (const ancestor of ancestors(name)) {
    if (ancestor === apex) return;
    if (!names.has(ancestor)) names.set(ancestor, null);
  }
}
