/**
 * Replaces what tells who and where: addresses, ids, names, each by the same stand-in throughout.
 *
 * Kind and family of an address stay, since decisions depend on them and on equality alone; ports
 * stay, since NATs are told apart by them. So an anonymised recording comes to the same decisions.
 *
 * Addresses and ids are known by their form and replaced wherever they are. Names look like any
 * word ("relay" is a fine one), so they are replaced only in prose: under the keys of {@link PROSE}.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../bytes.ts";
import { canonicalIp, formatIp, type Ip, parseIp, parsePrefix, prefixContains } from "../ip.ts";

/** Ranges whose meaning must survive, and what stands for their addresses; null: they stay. */
const RANGES = [
  { prefix: "0.0.0.0/32", stand: null },
  { prefix: "127.0.0.0/8", stand: null },
  { prefix: "::/127", stand: null },
  { prefix: "169.254.0.0/16", stand: "169.254.0.0" },
  { prefix: "100.64.0.0/10", stand: "100.64.0.0" },
  { prefix: "10.0.0.0/8", stand: "10.0.0.0" },
  { prefix: "172.16.0.0/12", stand: "172.16.0.0" },
  { prefix: "192.168.0.0/16", stand: "192.168.0.0" },
  // For benchmarks (RFC 2544): never routed, and longer than the ranges for documentation.
  { prefix: "0.0.0.0/0", stand: "198.18.0.0" },
  { prefix: "fe80::/10", stand: "fe80::" },
  { prefix: "fc00::/7", stand: "fd00::" },
  { prefix: "::/0", stand: "2001:db8::" },
].map(({ prefix, stand }) => ({ prefix: parsePrefix(prefix)!, stand }));

/** Keys whose texts are written for people. */
const PROSE: ReadonlySet<string> = new Set([
  "advice",
  "lastError",
  "log",
  "name",
  "peer",
  "peerNatText",
  "natText",
  "result",
  "verdict",
  "warnings",
  "why",
]);

const DOTTED = String.raw`\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)`;
/** Both families at once, since one may hold the other: `::ffff:192.0.2.1`. */
const IP = new RegExp(
  String.raw`(?<![\w:])(?:[0-9a-f]{0,4}:){2,8}(?:${DOTTED}|[0-9a-f]{0,4}(?![\w:]))` +
    String.raw`|(?<!\d|\d\.)${DOTTED}`,
  "gi",
);
const ID = /(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])/g;
const RELAY = /(?<=relay:)[^:"\s[\]]+(?=:\d)/g;
const DOMAIN = /(?<![\w.-])(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*[a-z](?![\w-])/gi;
const HOME = /(?<=\/(?:home|Users)\/)[^/\s"']+/g;
/** Keys, fingerprints, tokens: nothing that belongs into prose is so long. */
const SECRET = /[A-Za-z0-9+/_-]{40,}=*/g;

/** What the agent itself says: no names but addresses, and a replay says it again. */
const AGENTS_OWN = new RegExp(`^(?:${
  [
    "",
    "first path that works",
    "the path failed",
    String.raw`better than (?:ssh|(?:relay|node|socket):\S+|[\d[]\S+:\d+)`,
    String.raw`no answer to \d+ pings(?: in a row)?`,
  ].join("|")
})$`);

/** Stand-ins, handed out as originals come. */
export class Anonymiser {
  readonly #salt: string;
  readonly #names: RegExp | null;
  readonly #nameNumbers = new Map<string, number>();
  readonly #ips = new Map<Ip, Ip>();
  readonly #counts = new Map<string, number>();
  readonly #hosts = new Map<string, string>();
  /** Texts that were met before: a recording says the same few over and over. */
  readonly #known = new Map<string, string>();

  /**
   * @param salt Random, and kept nowhere: ids cannot be found by trying.
   * @param names Names of nodes; the longest match wins.
   * @param relays Host names of relays and coordinators.
   */
  constructor(salt: string, names: readonly string[], relays: readonly string[] = []) {
    this.#salt = salt;
    for (const name of new Set(names.map((each) => each.toLowerCase()))) {
      if (name !== "") this.#nameNumbers.set(name, this.#nameNumbers.size + 1);
    }
    // Those that are addresses are replaced as such.
    for (const host of relays) if (!canonicalIp(host.replace(/[[\]]/g, ""))) this.#relay(host);
    this.#names = anyOf([...this.#nameNumbers.keys(), ...this.#hosts.keys()]);
  }

  /** Anything that JSON holds, every text in it replaced; JSON in texts is gone through too. */
  value<T>(value: T): T {
    return this.#walk(value, false) as T;
  }

  /** A text for people, with stand-ins. */
  prose(text: string): string {
    if (AGENTS_OWN.test(text)) return this.#addresses(text);
    // Before names, of which a path may be made; it is one word to what follows.
    const replaced = this.#addresses(text).replace(HOME, "user").replace(SECRET, "secret");
    const named = this.#names
      ? replaced.replace(this.#names, (name) => this.#stand(name.toLowerCase()))
      : replaced;
    return named.replace(DOMAIN, (domain) => this.#domain(domain));
  }

  #walk(value: unknown, isProse: boolean): unknown {
    if (typeof value === "string") {
      const inner = value.startsWith("{") ? parsed(value) : undefined;
      if (inner !== undefined) return JSON.stringify(this.#walk(inner, isProse));
      return isProse ? this.prose(value) : this.#addresses(value);
    }
    if (Array.isArray(value)) return value.map((each) => this.#walk(each, isProse));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map((
        [key, each],
      ) => [this.#addresses(key), this.#walk(each, PROSE.has(key))]),
    );
  }

  /** What is known by its form. */
  #addresses(text: string): string {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const replaced = text
      .replace(RELAY, (host) => canonicalIp(host) ? host : this.#relay(host))
      .replace(IP, (ip) => canonicalIp(ip) ? this.#ip(ip) : ip)
      .replace(ID, (id) => toHex(sha256(utf8(`${this.#salt} ${id}`)).subarray(0, 8)));
    this.#known.set(text, replaced);
    return replaced;
  }

  #stand(name: string): string {
    const number = this.#nameNumbers.get(name);
    return number === undefined ? this.#relay(name) : `node-${number}`;
  }

  #relay(host: string): string {
    return this.#host(host, "relay");
  }

  #domain(domain: string): string {
    if (/^(relay|host)-\d+\.example$/.test(domain)) return domain;
    // A node's name below the mesh's domain.
    const node = /^node-\d+(?=\.)/.exec(domain)?.[0];
    return node ? `${node}.example` : this.#host(domain.toLowerCase(), "host");
  }

  #host(host: string, kind: "relay" | "host"): string {
    const known = this.#hosts.get(host) ?? `${kind}-${this.#hosts.size + 1}.example`;
    this.#hosts.set(host, known);
    return known;
  }

  #ip(text: string): Ip {
    const ip = canonicalIp(text)!;
    const known = this.#ips.get(ip);
    if (known) return known;
    const bytes = parseIp(ip)!;
    const { stand } = RANGES.find(({ prefix }) => prefixContains(prefix, bytes))!;
    const replaced = stand === null ? ip : this.#next(stand);
    this.#ips.set(ip, replaced);
    return replaced;
  }

  /** The next address of a range; none comes twice, even past its end. */
  #next(stand: string): Ip {
    const count = (this.#counts.get(stand) ?? 0) + 1;
    this.#counts.set(stand, count);
    const bytes = parseIp(stand)!;
    for (let rest = count, i = bytes.length - 1; rest > 0; i--) {
      rest += bytes[i]!;
      bytes[i] = rest & 0xff;
      rest >>= 8;
    }
    return formatIp(bytes);
  }
}

/** Matches any of the words, the longest that fits. */
function anyOf(words: readonly string[]): RegExp | null {
  if (words.length === 0) return null;
  const sorted = words.toSorted((a, b) => b.length - a.length).map(escaped);
  return new RegExp(`(?<![\\w-])(?:${sorted.join("|")})(?![\\w-])`, "gi");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
