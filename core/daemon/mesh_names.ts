/**
 * Mesh names on this machine: the resolver that answers for them, and the system's settings that lead
 * to it.
 * @module
 */
import type { Zone } from "../dns/zone.ts";
import { errorMessage } from "../errors.ts";
import type { Ip } from "../ip.ts";
import { createSystemDns } from "../platform/linux/dns.ts";
import type { SystemDns } from "../platform/types_dns.ts";
import type { DnsFinding, DnsReport } from "./api_types.ts";
import { ContextNames } from "./dns_contexts.ts";
import { examineDns } from "./dns_doctor.ts";
import { type DnsServer, startDnsServer } from "./dns_server.ts";
import type { Exits } from "./exits.ts";
import type { Service } from "./filter_rules.ts";
import type { DaemonOptions } from "./open_node.ts";

/** What the filter lets in for names. */
const DNS_SERVICE: Service = {
  name: "dns",
  protocol: "any",
  ports: [{ first: 53, last: 53 }],
  comment: "Names of the mesh",
};

/** How names are offered. */
export interface NamesOptions
  extends Pick<DaemonOptions, "context" | "membership" | "interfaceName" | "state" | "log"> {
  /** The context that users chose last, or null. */
  readonly activeContext: () => string | null;
  readonly dns: {
    readonly isEnabled: boolean;
    /** Null listens on port 53 of the mesh addresses. */
    readonly listen: { readonly address: Ip; readonly port: number } | null;
  };
}

export interface NamesTargets {
  readonly zone: Zone;
  readonly exits: () => Exits;
  /** Lets members ask this node. */
  readonly openPort: (service: Service) => void;
}

/** See the module's doc. */
export class MeshNames {
  readonly #options: NamesOptions;
  readonly #targets: NamesTargets;
  readonly #contexts: ContextNames;
  #server: DnsServer | undefined;
  #system: SystemDns | undefined;
  #problem: string | null = null;

  constructor(options: NamesOptions, targets: NamesTargets) {
    this.#options = options;
    this.#targets = targets;
    const { context, activeContext: active } = options;
    this.#contexts = new ContextNames({ context, zone: targets.zone, active });
  }

  /** Why names do not work, in a sentence; null when they do. */
  get problem(): string | null {
    return this.#problem ?? this.#system?.report().problem ?? null;
  }

  async start(): Promise<void> {
    const { membership, interfaceName, state, log, dns } = this.#options;
    const { zone, exits, openPort } = this.#targets;
    const addresses = dns.listen ? [dns.listen.address] : membership.reply.addresses;
    const port = dns.listen?.port ?? 53;
    try {
      const system = await createSystemDns({
        interfaceName,
        addresses,
        port,
        reverseZones: zone.reverseZones,
        isContextResolver: (ip) => this.#contexts.isResolver(ip),
        stateDir: state.path,
        log: (message) => log("info", message),
      });
      // With names switched off only what a killed run left is put right.
      if (!dns.isEnabled) return;
      this.#system = system;
      this.#server = startDnsServer({
        zone,
        addresses,
        ownAddresses: membership.reply.addresses,
        port,
        upstreams: () => exits().upstreams(this.#contexts.withoutContexts(system.upstreams())),
        resolvesFor: (client) => exits().resolvesFor(client),
        contexts: this.#contexts,
        log: (message) => log("debug", message),
      });
      if (dns.listen === null) openPort(DNS_SERVICE);
      exits().onWay(() => void this.#takeAll(system));
      await system.takeAll(exits().isHeld);
      await system.apply();
    } catch (error) {
      // Packets flow without names: tell, and let `dns doctor` say more.
      this.#problem = `Mesh names do not work: ${errorMessage(error)}`;
      log("warn", this.#problem);
    }
  }

  /** Puts the system's settings back. */
  async close(): Promise<void> {
    await this.#system?.restore();
    await this.#server?.close();
  }

  report(): DnsReport {
    const report = this.#system?.report();
    return {
      mode: report && this.#server ? report.mode : "off",
      listen: this.#server?.listening[0] ?? null,
      upstreams: this.#contexts.withoutContexts(report?.upstreams ?? []),
      repairs: report?.repairs ?? [],
    };
  }

  async diagnose(): Promise<DnsFinding[]> {
    const { context, membership: { reply } } = this.#options;
    const findings = await examineDns({
      // In another mesh the same name may mean another node.
      name: this.#contexts.hasOthers ? `${reply.name}.${context.toLowerCase()}` : reply.name,
      addresses: reply.addresses,
      interfaceName: this.#options.interfaceName,
      server: this.#server ?? null,
      system: this.#system?.report() ?? null,
    });
    if (this.#problem === null) return findings;
    return [{ level: "error", what: this.#problem, culprit: null, hint: null }, ...findings];
  }

  /** All names are asked for where traffic to the internet goes. */
  async #takeAll(system: SystemDns): Promise<void> {
    try {
      await system.takeAll(this.#targets.exits().isHeld);
    } catch (error) {
      this.#options.log("warn", "Cannot lead names to the exit", { why: errorMessage(error) });
    }
  }
}
