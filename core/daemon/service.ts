/**
 * A node with everything around it that users meet: names, the local API, leaving.
 *
 * Undone in reverse on the way out; what a `kill -9` leaves behind is undone at the next start.
 * @module
 */
import { PATHS } from "../control/envelope.ts";
import { errorMessage, MeshError } from "../errors.ts";
import type { PeerId } from "../ids.ts";
import { DEFAULT_PREFERENCE, type PathPreference } from "../path/peer_paths.ts";
import type { Ip } from "../ip.ts";
import type { NodePeer } from "../node.ts";
import { createSystemDns } from "../platform/linux/dns.ts";
import { EchoSocket } from "../platform/linux/icmp.ts";
import type { SystemDns } from "../platform/types_dns.ts";
import type {
  DnsFinding,
  DnsReport,
  NetcheckReport,
  PingReport,
  ResolveReport,
  StatusReport,
  WhyReport,
} from "./api_types.ts";
import { type BugReport, bugReport } from "./bugreport.ts";
import { Daemon } from "./daemon.ts";
import type { DaemonOptions } from "./open_node.ts";
import type { ExitReport } from "./exit_report.ts";
import type { Exits } from "./exits.ts";
import { examineDns } from "./dns_doctor.ts";
import { ContextNames } from "./dns_contexts.ts";
import { type DnsServer, startDnsServer } from "./dns_server.ts";
import {
  type AdminRequest,
  LocalApi,
  type LocalApiActions,
  type PathsRequest,
  type PingRequest,
} from "./local_api.ts";
import { leavingRecord, removeMembership } from "./membership.ts";
import { reportWhy } from "./path_report.ts";
import { callCoordinator } from "./registration.ts";
import { linkTo, pathTo, type PingSample, reportCoordinator, reportPeer } from "./report.ts";
import { systemRandom } from "./system_random.ts";

/** How a node is offered to its users. */
export interface ServiceOptions extends DaemonOptions {
  readonly socketPath: string;
  /** The context that users chose last, or null. */
  readonly activeContext: () => string | null;
  /** What others reach the coordinator by, where that differs from what this node uses. */
  readonly publicUrl: string | null;
  readonly dns: {
    readonly isEnabled: boolean;
    /** Null listens on port 53 of the mesh addresses. */
    readonly listen: { readonly address: Ip; readonly port: number } | null;
  };
}

/** A clock this far off is worth a warning. */
const CLOCK_WARNING_MS = 60_000;

/** A running node; see {@link run}. */
export class NodeService implements LocalApiActions {
  readonly #options: ServiceOptions;
  readonly #daemon: Daemon;
  readonly #contexts: ContextNames;
  readonly #pings = new Map<number, PingSample>();
  readonly #stopped = Promise.withResolvers<"stop" | "leave">();
  #api: LocalApi | undefined;
  #dnsServer: DnsServer | undefined;
  #systemDns: SystemDns | undefined;
  #dnsProblem: string | null = null;

  /** Starts forwarding, names and the local API. */
  static async start(options: ServiceOptions): Promise<NodeService> {
    const service = new NodeService(options, await Daemon.start(options));
    try {
      await service.#startDns();
      service.#api = await LocalApi.start(options.socketPath, service);
    } catch (error) {
      await service.close();
      throw error;
    }
    return service;
  }

  private constructor(options: ServiceOptions, daemon: Daemon) {
    this.#options = options;
    this.#daemon = daemon;
    const { context, activeContext: active } = options;
    this.#contexts = new ContextNames({ context, zone: daemon.zone, active });
  }

  get daemon(): Daemon {
    return this.#daemon;
  }

  /** Settles when a user asked the node to end; rejects when it cannot go on. */
  get stopped(): Promise<"stop" | "leave"> {
    return Promise.race([this.#stopped.promise, this.#daemon.failed]);
  }

  /**
   * Undoes everything; may be called more than once.
   * @param opensExit Whether a kill switch opens too: the node ends because its user wants that.
   */
  async close(opensExit = false): Promise<void> {
    await this.#systemDns?.restore();
    await this.#dnsServer?.close();
    await this.#api?.close();
    await this.#daemon.close(opensExit);
  }

  get exits(): Exits {
    return this.#daemon.exits;
  }

  status(): StatusReport {
    const now = this.#daemon.clock();
    const { membership, version, context, interfaceName, mtu } = this.#options;
    const { node, plane } = this.#daemon;
    const { reply } = membership;
    const peers = [...node.peers.values()].map((peer) =>
      reportPeer(node, plane.table, peer, this.#pings.get(peer.slot), now)
    );
    return {
      version,
      pid: Deno.pid,
      uptimeMs: now - this.#daemon.startedAt,
      context,
      id: reply.id,
      name: reply.name,
      addresses: reply.addresses,
      meshId: reply.meshId,
      cidr4: reply.cidr4,
      prefix6: reply.prefix6,
      isAdmin: reply.isAdmin,
      interfaceName,
      mtu,
      udpPort: plane.udpPort,
      aead: plane.aeadName,
      offloads: plane.offloads,
      coordinator: reportCoordinator(node, this.#options.publicUrl, now),
      dns: this.#dnsReport(),
      peers: peers.sort((a, b) => a.name < b.name ? -1 : 1),
      drops: this.#daemon.drops,
      warnings: this.#warnings(),
    };
  }

  resolve(name: string): ResolveReport {
    const found = this.#daemon.zone.lookup(name);
    if (found) return { name: found.name, addresses: found.addresses, peer: found.peer };
    throw new MeshError("name-unknown", `Cannot resolve "${name}": no node has that name`, {
      hint: "List the names of the mesh with: tunnelmesh peers",
    });
  }

  async *ping(request: PingRequest, signal: AbortSignal): AsyncGenerator<PingReport> {
    const { address, peer } = this.#target(request.peer);
    using socket = new EchoSocket(address, systemRandom.uint32());
    for (let sequence = 1; sequence <= request.count && !signal.aborted; sequence++) {
      const start = performance.now();
      const rttMs = await socket.echo(sequence, request.timeoutMs);
      if (signal.aborted) return;
      const { node, plane } = this.#daemon;
      const endpoint = peer && pathTo(node, plane.table, peer);
      if (peer && rttMs !== null) {
        this.#pings.set(peer.slot, { ms: rttMs, at: this.#daemon.clock() });
      }
      yield {
        sequence,
        peer: peer?.name ?? this.#options.membership.reply.name,
        address,
        rttMs,
        link: peer ? linkTo(node, plane.table, peer) : "none",
        endpoint,
      };
      if (sequence === request.count) return;
      await sleep(request.intervalMs - (performance.now() - start), signal);
    }
  }

  async diagnoseDns(): Promise<DnsFinding[]> {
    const { context, membership: { reply } } = this.#options;
    const findings = await examineDns({
      // In another mesh the same name may mean another node.
      name: this.#contexts.hasOthers ? `${reply.name}.${context.toLowerCase()}` : reply.name,
      addresses: reply.addresses,
      interfaceName: this.#options.interfaceName,
      server: this.#dnsServer ?? null,
      system: this.#systemDns?.report() ?? null,
    });
    if (this.#dnsProblem === null) return findings;
    return [{ level: "error", what: this.#dnsProblem, culprit: null, hint: null }, ...findings];
  }

  why(name: string): WhyReport {
    const peer = this.#peer(name);
    const { node } = this.#daemon;
    return reportWhy(node, peer, this.netcheck(), this.#daemon.clock());
  }

  netcheck(): NetcheckReport {
    return this.#daemon.netcheck();
  }

  preferPaths({ peer, order, exclude }: PathsRequest): PathPreference {
    const { slot } = this.#peer(peer);
    const before = this.#daemon.node.paths.pathsOf(slot)?.preference ?? DEFAULT_PREFERENCE;
    const wanted = { order: order ?? before.order, exclude: exclude ?? before.exclude };
    this.#daemon.preferPaths(slot, wanted);
    return wanted;
  }

  bugreport(): BugReport {
    const { version, wallTime } = this.#options;
    const { node } = this.#daemon;
    const netcheck = this.netcheck();
    const now = this.#daemon.clock();
    const why = [...node.peers.values()].map((peer) => reportWhy(node, peer, netcheck, now));
    return bugReport(node, { version, status: this.status(), netcheck, why, wallTime: wallTime() });
  }

  /** Tells the coordinator, forgets the mesh and ends. */
  async leave(): Promise<void> {
    const { identity, membership, state, log } = this.#options;
    const record = leavingRecord(identity, this.#daemon.record.membership);
    try {
      await callCoordinator(membership, identity, {
        method: "DELETE",
        path: `${PATHS.nodes}/${membership.reply.id}`,
        body: { record },
      });
    } catch (error) {
      // The user wants out: an unreachable coordinator must not hold the machine in the mesh.
      log("warn", "Left without telling the coordinator", { why: errorMessage(error) });
    }
    await removeMembership(state);
    this.#stopped.resolve("leave");
  }

  stop(): void {
    this.#stopped.resolve("stop");
  }

  async admin(request: AdminRequest): Promise<unknown> {
    const { identity, membership } = this.#options;
    return await callCoordinator(membership, identity, request);
  }

  async #startDns(): Promise<void> {
    const { membership, interfaceName, state, log, dns } = this.#options;
    const addresses = dns.listen ? [dns.listen.address] : membership.reply.addresses;
    const port = dns.listen?.port ?? 53;
    const { zone } = this.#daemon;
    try {
      const systemDns = await createSystemDns({
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
      this.#systemDns = systemDns;
      this.#dnsServer = startDnsServer({
        zone,
        addresses,
        ownAddresses: membership.reply.addresses,
        port,
        upstreams: () =>
          this.exits.upstreams(this.#contexts.withoutContexts(systemDns.upstreams())),
        resolvesFor: (client) => this.exits.resolvesFor(client),
        contexts: this.#contexts,
        log: (message) => log("debug", message),
      });
      this.exits.onWay(() => void this.#takeNames(systemDns));
      await systemDns.takeAll(this.exits.isHeld);
      await systemDns.apply();
    } catch (error) {
      // Packets flow without names: tell, and let `dns doctor` say more.
      this.#dnsProblem = `Mesh names do not work: ${errorMessage(error)}`;
      log("warn", this.#dnsProblem);
    }
  }

  /** All names are asked for where traffic to the internet goes. */
  async #takeNames(systemDns: SystemDns): Promise<void> {
    try {
      await systemDns.takeAll(this.exits.isHeld);
    } catch (error) {
      this.#options.log("warn", "Cannot lead names to the exit", { why: errorMessage(error) });
    }
  }

  #dnsReport(): DnsReport {
    const report = this.#systemDns?.report();
    return {
      mode: report && this.#dnsServer ? report.mode : "off",
      listen: this.#dnsServer?.listening[0] ?? null,
      upstreams: this.#contexts.withoutContexts(report?.upstreams ?? []),
      repairs: report?.repairs ?? [],
    };
  }

  #warnings(): string[] {
    const warnings: string[] = [];
    const { clockOffsetMs, lastError, state } = this.#daemon.node.control.report;
    if (clockOffsetMs !== null && Math.abs(clockOffsetMs) > CLOCK_WARNING_MS) {
      const direction = clockOffsetMs > 0 ? "ahead of" : "behind";
      const minutes = Math.round(Math.abs(clockOffsetMs) / 60_000);
      warnings.push(`This machine's clock is ${minutes} min ${direction} the coordinator's`);
    }
    if (state === "refused") {
      const why = lastError ?? "it did not say why";
      warnings.push(`The coordinator refuses this node: ${why}. Leave and join with a new token`);
    }
    const problem = this.#dnsProblem ?? this.#systemDns?.report().problem;
    if (problem) warnings.push(problem);
    warnings.push(...exitWarnings(this.exits.report()));
    return warnings;
  }

  /** A peer by name, alias, id or address. */
  /** A peer by name, alias, address or id. */
  #peer(text: string): NodePeer {
    const { peer } = this.#target(text);
    if (peer) return peer;
    throw new MeshError("peer-unknown", `Cannot find peer "${text}": that is this node itself`);
  }

  #target(text: string): { address: Ip; peer: NodePeer | null } {
    const peers = [...this.#daemon.node.peers.values()];
    const byId = peers.find(({ id, addresses }) =>
      id === (text as PeerId) || addresses.includes(text)
    );
    const address = byId ? addresses4First(byId, text) : this.resolve(text).addresses[0];
    if (!address) throw new MeshError("peer-unknown", `Cannot ping "${text}": it has no address`);
    return { address, peer: peers.find(({ addresses }) => addresses.includes(address)) ?? null };
  }
}

function exitWarnings({ state, problem, own }: ExitReport): string[] {
  const held = "Traffic to the internet is held back";
  return [
    ...state === "blocked" ? [`${held}: ${problem ?? "no exit is there"}`] : [],
    ...state === "direct" ? ["The exit is lost: traffic to the internet goes past the mesh"] : [],
    ...state === "in-use" && problem !== null ? [problem] : [],
    ...own.obstacles.map(({ chain, allow }) =>
      `${chain} drops what peers send through this node; allow it with: ${allow}`
    ),
  ];
}

function addresses4First(peer: NodePeer, wanted: string): Ip | undefined {
  return peer.addresses.includes(wanted) ? wanted : peer.addresses[0];
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}
