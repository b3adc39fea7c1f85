/**
 * Replaces what tells who and where: addresses, ids, names, each by the same stand-in throughout.
 *
 * Kind and family of an address stay, since decisions depend on them and on equality alone; ports
 * stay, since NATs are told apart by them. So an anonymised recording comes to the same decisions.
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../bytes.ts";
import { canonicalIp, formatIp, type Ip, parseIp, parsePrefix, prefixContains } from "../ip.ts";

/** Ranges whose meaning must survive, and what stands for their addresses. */
const RANGES = [
  { prefix: "127.0.0.0/8", stand: null },
  { prefix: "::1/128", stand: null },
  { prefix: "169.254.0.0/16", stand: "169.254.0.0" },
  { prefix: "100.64.0.0/10", stand: "100.64.0.0" },
  { prefix: "10.0.0.0/8", stand: "10.0.0.0" },
  { prefix: "172.16.0.0/12", stand: "172.16.0.0" },
  { prefix: "192.168.0.0/16", stand: "192.168.0.0" },
  { prefix: "0.0.0.0/0", stand: "198.18.0.0" },
  { prefix: "fe80::/10", stand: "fe80::" },
  { prefix: "fc00::/7", stand: "fd00::" },
  { prefix: "::/0", stand: "2001:db8::" },
].map(({ prefix, stand }) => ({ prefix: parsePrefix(prefix)!, stand }));

const IPV4 = /(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])/g;
const IPV6 = /(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])/gi;
const ID = /(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])/g;
const RELAY = /(?<=relay:)[^:"\s]+(?=:\d)/g;

/** Stand-ins, handed out as originals come. */
export class Anonymiser {
  readonly #salt: string;
  readonly #names: readonly string[];
  readonly #ips = new Map<Ip, Ip>();
  readonly #counts = new Map<string, number>();
  readonly #relays = new Map<string, string>();

  /**
   * @param salt Random, and kept nowhere: ids cannot be found by trying.
   * @param names Names of nodes; the longest match wins.
   */
  constructor(salt: string, names: readonly string[]) {
    this.#salt = salt;
    this.#names = [...new Set(names)].filter((name) => name.length > 0);
  }

  /** Anything that JSON holds, every text in it replaced; JSON in texts is gone through too. */
  value<T>(value: T): T {
    return this.#walk(value) as T;
  }

  #walk(value: unknown): unknown {
    if (typeof value === "string") {
      const inner = value.startsWith("{") ? parsed(value) : undefined;
      return inner === undefined ? this.text(value) : JSON.stringify(this.#walk(inner));
    }
    if (Array.isArray(value)) return value.map((each) => this.#walk(each));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [this.text(key), this.#walk(each)]),
    );
  }

  /** A text with stand-ins. */
  text(text: string): string {
    const replaced = text
      .replace(RELAY, (host) => canonicalIp(host) ? host : this.#relay(host))
      .replace(IPV4, (ip) => canonicalIp(ip) ? this.#ip(ip) : ip)
      .replace(IPV6, (ip) => canonicalIp(ip) ? this.#ip(ip) : ip)
      .replace(ID, (id) => toHex(sha256(utf8(`${this.#salt} ${id}`)).subarray(0, 8)));
    if (this.#names.length === 0) return replaced;
    const sorted = this.#names.toSorted((a, b) => b.length - a.length).map(escaped);
    const pattern = new RegExp(`(?<![\\w-])(?:${sorted.join("|")})(?![\\w-])`, "g");
    return replaced.replace(pattern, (name) => `node-${this.#names.indexOf(name) + 1}`);
  }

  #relay(host: string): string {
    const known = this.#relays.get(host) ?? `relay-${this.#relays.size + 1}.example`;
    this.#relays.set(host, known);
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

  #next(stand: string): Ip {
    const count = (this.#counts.get(stand) ?? 0) + 1;
    this.#counts.set(stand, count);
    const bytes = parseIp(stand)!;
    bytes[bytes.length - 1] = count & 0xff;
    bytes[bytes.length - 2] = bytes[bytes.length - 2]! | (count >> 8);
    return formatIp(bytes);
  }
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
