/**
 * Which of Linux's ways to resolve names does this machine use, and how do mesh names get into it?
 *
 * systemd-resolved, when it answers and the system's resolv.conf leads to it: per-link settings, so
 * that only mesh names come here. Otherwise, and when resolv.conf is later turned away from it, the
 * file itself. Neither, when the settings belong to another network: a network namespace without
 * files of its own.
 * @module
 */
import { errorMessage } from "../../errors.ts";
import type { Ip } from "../../ip.ts";
import type {
  DnsRepair,
  SystemDns,
  SystemDnsMode,
  SystemDnsOptions,
  SystemDnsReport,
} from "../types_dns.ts";
import { FileDns, isStub } from "./dns_file.ts";
import { belongsToOtherNetwork } from "./dns_program.ts";
import { RESOLV_CONF } from "./resolv_conf.ts";
import { findResolved, RESOLVED_DIRECTORY, ResolvedDns, resolvedUpstreams } from "./resolved.ts";

/** Where things are; tests give their own. */
export interface LinuxDnsPaths {
  readonly resolvConf?: string;
  /** Runtime folder of systemd-resolved. */
  readonly resolvedDirectory?: string;
  /** Folders to search for `resolvectl` first, joined by colons; PATH when not given. */
  readonly searchPath?: string;
}

/**
 * Finds out what the system uses and puts back what a killed daemon left; changes nothing else.
 * Start the resolver between this and {@link SystemDns.apply}.
 */
export async function createSystemDns(
  options: SystemDnsOptions,
  paths: LinuxDnsPaths = {},
): Promise<SystemDns> {
  const path = paths.resolvConf ?? RESOLV_CONF;
  const directory = paths.resolvedDirectory ?? RESOLVED_DIRECTORY;
  const found = await belongsToOtherNetwork(directory)
    ? null
    : await findResolved(directory, paths.searchPath);
  const resolved = found && new ResolvedDns(options, found);
  const dns = new LinuxDns(options, resolved);
  if (await belongsToOtherNetwork(path)) {
    dns.problem = `${path} belongs to another network namespace; this one needs its own, ` +
      "e.g. as /etc/netns/NAME/resolv.conf";
  } else if ((options.port ?? 53) !== 53 && resolved === null) {
    dns.problem = `${path} can only name resolvers on port 53, not on ${options.port}`;
  } else if ((options.port ?? 53) === 53) {
    dns.file = new FileDns(options, {
      path,
      stubUpstreams: () => resolvedUpstreams(directory),
      isFine: (servers) => dns.usesResolved && servers.length > 0 && servers.every(isStub),
    });
  }
  await resolved?.inspect();
  await dns.file?.inspect();
  return dns;
}

class LinuxDns implements SystemDns {
  file: FileDns | null = null;
  problem: string | null = null;
  readonly #options: SystemDnsOptions;
  readonly #resolved: ResolvedDns | null;
  #usesResolved: boolean;
  #isApplied = false;

  constructor(options: SystemDnsOptions, resolved: ResolvedDns | null) {
    this.#options = options;
    this.#resolved = resolved;
    this.#usesResolved = resolved !== null;
  }

  /** Whether systemd-resolved has, or is about to get, our settings. */
  get usesResolved(): boolean {
    return this.#usesResolved;
  }

  get mode(): SystemDnsMode {
    if (!this.#isApplied) return "off";
    if (this.file?.isInPlace) return "resolv.conf";
    if (this.file?.isShared) return "shared";
    return this.#usesResolved ? "resolved" : "off";
  }

  upstreams(): readonly Ip[] {
    const isFileUsed = this.file !== null && (this.file.isInPlace || !this.#usesResolved);
    if (isFileUsed) return this.file!.upstreams;
    return this.#resolved?.upstreams ?? [];
  }

  async apply(): Promise<void> {
    if (this.#resolved !== null) {
      try {
        await this.#resolved.apply();
        this.#usesResolved = true;
      } catch (error) {
        if (this.file === null) throw error;
        this.#usesResolved = false;
        this.#options.log(errorMessage(error));
      }
    }
    if (this.problem !== null) this.#options.log(this.problem);
    await this.file?.apply();
    this.#isApplied = true;
  }

  async takeAll(takesAll: boolean): Promise<void> {
    // By resolv.conf every name comes to the resolver anyway.
    await this.#resolved?.takeAll(takesAll, this.#isApplied && this.#usesResolved);
  }

  async restore(): Promise<void> {
    await this.file?.restore();
    if (this.#isApplied) await this.#resolved?.restore();
    this.#isApplied = false;
  }

  onRepair(callback: (repair: DnsRepair) => void): void {
    this.file?.repairs.onRepair(callback);
    this.#resolved?.repairs.onRepair(callback);
  }

  report(): SystemDnsReport {
    const repairs = [...this.file?.repairs.list() ?? [], ...this.#resolved?.repairs.list() ?? []];
    return {
      mode: this.mode,
      upstreams: this.upstreams(),
      repairs: repairs.sort((a, b) => b.ageMs - a.ageMs).slice(-20),
      problem: this.file?.problem ?? this.problem,
    };
  }
}
