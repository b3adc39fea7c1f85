/**
 * How does systemd-resolved send mesh names, and only those, to this node's resolver?
 *
 * By settings of our own link: its DNS servers are our addresses, its routing domains (`~mesh`:
 * route, do not search) are the mesh's suffixes and reverse zones. Each call replaces the former
 * list, so all domains are in one call. While an exit is in use, `~.` sends all other names here too. The settings vanish with the link; a reconnect to a
 * restarted service is found by its writing /run/systemd/resolve.
 * @module
 */
import { MeshError } from "../../errors.ts";
import { SUFFIXES } from "../../ids.ts";
import type { Ip } from "../../ip.ts";
import type { SystemDnsOptions } from "../types_dns.ts";
import { findProgram, runProgram } from "./dns_program.ts";
import { Repairs } from "./dns_repairs.ts";
import { type Watch, watchFiles } from "./dns_watch.ts";
import { parseResolvConf } from "./resolv_conf.ts";
import { readText } from "./resolv_conf_file.ts";

/** Where systemd-resolved keeps its runtime files. */
export const RESOLVED_DIRECTORY = "/run/systemd/resolve";
/** The file with the resolvers that it uses itself. */
const UPLINK_NAME = "resolv.conf";
/** It writes its files when anything changes, so this is for what inotify misses. */
const POLL_MS = 60_000;

/** How to reach the service. */
export interface ResolvedSettings {
  /** Absolute path of `resolvectl`. */
  readonly resolvectl: string;
  readonly directory: string;
}

/** Finds a systemd-resolved that answers; null when there is none. */
export async function findResolved(
  directory: string = RESOLVED_DIRECTORY,
  searchPath?: string,
): Promise<ResolvedSettings | null> {
  const isThere = await Deno.stat(directory).then((stat) => stat.isDirectory, () => false);
  const resolvectl = isThere ? await findProgram("resolvectl", searchPath) : null;
  if (resolvectl === null) return null;
  const answers = await runProgram(resolvectl, ["status"], 3_000).then(
    (r) => r.code === 0,
    () => false,
  );
  return answers ? { resolvectl, directory } : null;
}

/**
 * Resolvers that systemd-resolved asks, from the file that it keeps for programs that want to know.
 */
export async function resolvedUpstreams(directory: string = RESOLVED_DIRECTORY): Promise<Ip[]> {
  return [...parseResolvConf(await readText(`${directory}/${UPLINK_NAME}`) ?? "").nameservers];
}

/** Settings of the mesh interface in systemd-resolved; see the module's comment. */
export class ResolvedDns {
  readonly repairs = new Repairs();
  readonly #options: SystemDnsOptions;
  readonly #settings: ResolvedSettings;
  #upstreams: readonly Ip[] = [];
  #watch: Watch | null = null;
  #takesAll = false;

  constructor(options: SystemDnsOptions, settings: ResolvedSettings) {
    this.#options = options;
    this.#settings = settings;
  }

  /** Resolvers of the other links. */
  get upstreams(): readonly Ip[] {
    return this.#upstreams;
  }

  /** Learns the upstreams. */
  async inspect(): Promise<void> {
    const all = await resolvedUpstreams(this.#settings.directory);
    this.#upstreams = all.filter((ip) => !this.#options.addresses.includes(ip));
  }

  /**
   * Sets the link up, and keeps it so.
   * @throws {MeshError} `system` with what `resolvectl` said.
   */
  async apply(): Promise<void> {
    await this.#set();
    this.#watch ??= watchFiles({
      directory: this.#settings.directory,
      names: [UPLINK_NAME, "stub-resolv.conf"],
      everyMs: POLL_MS,
      look: () => this.#look(),
      log: this.#options.log,
    });
  }

  /** @param isNow Whether the link is set up already. */
  async takeAll(takesAll: boolean, isNow: boolean): Promise<void> {
    if (takesAll === this.#takesAll) return;
    this.#takesAll = takesAll;
    if (isNow) await this.#set();
  }

  /** Takes the settings back. Never throws: the link may be gone, and they with it. */
  async restore(): Promise<void> {
    const watch = this.#watch;
    this.#watch = null;
    await watch?.end();
    await this.#try("revert");
    await this.#flush();
  }

  async #set(): Promise<void> {
    const { addresses, port = 53, reverseZones = [] } = this.#options;
    const servers = addresses.map((ip) => port === 53 ? ip : withPort(ip, port));
    const zones = [...SUFFIXES, ...reverseZones, ...this.#takesAll ? ["."] : []];
    await this.#must("dns", ...servers);
    await this.#must("domain", ...zones.map((zone) => `~${zone}`));
    // No query for any other name, no validation of a zone that the root does not know, plain DNS.
    // Older versions lack some of these; names work without them.
    await this.#try("default-route", this.#takesAll ? "yes" : "no");
    await this.#try("dnssec", "no");
    await this.#try("dnsovertls", "no");
    await this.#try("llmnr", "no");
    await this.#try("mdns", "no");
    await this.#flush();
  }

  /** Looks whether the service still knows our domains; a restarted one may not. */
  async #look(): Promise<void> {
    await this.inspect();
    const { resolvectl } = this.#settings;
    const args = ["domain", this.#options.interfaceName];
    const result = await runProgram(resolvectl, args).catch(() => null);
    if (result?.code !== 0 || SUFFIXES.every((name) => result.stdout.includes(`~${name}`))) return;
    const isSet = await this.#set().then(() => true, () => false);
    if (!isSet) return;
    const what = `systemd-resolved had lost the settings of ${this.#options.interfaceName}; ` +
      "they were set again";
    this.#options.log(what);
    this.repairs.add(what);
  }

  async #flush(): Promise<void> {
    await runProgram(this.#settings.resolvectl, ["flush-caches"]).catch(() => null);
  }

  async #must(verb: string, ...values: string[]): Promise<void> {
    const { resolvectl } = this.#settings;
    const link = this.#options.interfaceName;
    const result = await runProgram(resolvectl, [verb, link, ...values]);
    if (result.code === 0) return;
    throw new MeshError(
      "system",
      `Cannot set "${verb}" of ${link} in systemd-resolved: ${result.stderr.trim() || "no answer"}`,
      { hint: "See what it says with: journalctl -u systemd-resolved" },
    );
  }

  async #try(verb: string, ...values: string[]): Promise<void> {
    const args = [verb, this.#options.interfaceName, ...values];
    await runProgram(this.#settings.resolvectl, args).catch(() => null);
  }
}

function withPort(ip: Ip, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}
