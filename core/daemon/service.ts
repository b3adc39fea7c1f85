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
import { type Ip, parsePrefix } from "../ip.ts";
import type { NodePeer } from "../node.ts";
import { EchoSocket } from "../platform/linux/icmp.ts";
import type {
  DnsFinding,
  NetcheckReport,
  PingReport,
  ResolveReport,
  StatusReport,
  WhyReport,
} from "./api_types.ts";
import { type BugReport, bugReport } from "./bugreport.ts";
import { Daemon } from "./daemon.ts";
import type { DaemonOptions } from "./open_node.ts";
import { expiryWarnings, lastSeenOf, nextExpiry, type Onlooker } from "./expiries.ts";
import type { Exits } from "./exits.ts";
import { FilterUsers } from "./filter_users.ts";
import {
  LocalApi,
  type LocalApiActions,
  type PathsRequest,
  type PingRequest,
} from "./local_api.ts";
import { MeshAdmin } from "./mesh_admin.ts";
import { MeshNames, type NamesOptions } from "./mesh_names.ts";
import type { MetricsServer } from "./metrics_server.ts";
import { leavingRecord, removeMembership } from "./membership.ts";
import { reportWhy } from "./path_report.ts";
import { callCoordinator } from "./registration.ts";
import { linkTo, pathTo, type PingSample, reportCoordinator, reportPeer } from "./report.ts";
import { systemRandom } from "./system_random.ts";
import { controlWarnings, exitWarnings, revocationWarnings } from "./warnings.ts";

/** How a node is offered to its users. */
export interface ServiceOptions extends DaemonOptions, NamesOptions {
  readonly socketPath: string;
  /** What join tokens pin of the coordinator's certificate. */
  readonly caPin: Uint8Array;
  /** What others reach the coordinator by, where that differs from what this node uses. */
  readonly publicUrl: string | null;
  /** TCP port of the metrics; null serves none. */
  readonly metricsPort: number | null;
}

/** A running node; see {@link run}. */
export class NodeService implements LocalApiActions {
  readonly #options: ServiceOptions;
  readonly #daemon: Daemon;
  readonly filter: FilterUsers;
  readonly #names: MeshNames;
  readonly #pings = new Map<number, PingSample>();
  readonly #stopped = Promise.withResolvers<"stop" | "leave">();
  #api: LocalApi | undefined;
  readonly #mesh: MeshAdmin;
  #metrics: MetricsServer | undefined;

  /** Starts forwarding, names and the local API. */
  static async start(options: ServiceOptions): Promise<NodeService> {
    const service = new NodeService(options, await Daemon.start(options));
    try {
      await service.#names.start();
      await service.#startMetrics();
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
    this.#names = new MeshNames(options, {
      zone: daemon.zone,
      exits: () => daemon.exits,
      openPort: (service) => daemon.mesh.filter.openServicePort(service),
    });
    const { identity, membership, logFile, caPin, wallTime } = options;
    this.#mesh = new MeshAdmin({
      identity,
      log: logFile.log,
      view: daemon.node.control.view,
      caPin,
      wallTime,
      lastSeen: (id) => lastSeenOf(this.#onlooker(), id),
      call: (call) =>
        callCoordinator({ ...membership, urls: [...daemon.coordinators.urls] }, identity, call),
    });
    daemon.mesh.onChange(() => this.#mesh.grown());
    this.filter = new FilterUsers({
      rules: daemon.mesh.filter,
      own: options.membership.reply.addresses.map((ip) => parsePrefix(ip)!),
      peers: () => daemon.node.peers.values(),
      peer: (text) => this.#peer(text),
      hits: () => daemon.plane.table.ruleHits(),
      drops: () => daemon.drops,
      clock: daemon.clock,
    });
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
    await this.#names.close();
    await this.#metrics?.close();
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
      filter: this.filter.status(),
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
      isAdmin: this.#mesh.isAdmin,
      interfaceName,
      mtu,
      udpPort: plane.udpPort,
      aead: plane.aeadName,
      offloads: plane.offloads,
      coordinator: reportCoordinator(node, this.#options.publicUrl, now),
      dns: this.#names.report(),
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

  diagnoseDns(): Promise<DnsFinding[]> {
    return this.#names.diagnose();
  }

  why(name: string): WhyReport {
    const peer = this.#peer(name);
    const { node } = this.#daemon;
    return reportWhy(node, peer, this.netcheck(), this.#daemon.clock());
  }

  netcheck(): NetcheckReport {
    return this.#daemon.netcheck();
  }

  preferPaths({ peer: name, order, exclude, reset }: PathsRequest): PathPreference {
    const peer = this.#peer(name);
    if (reset) return this.#daemon.mesh.preferPaths(peer, null);
    const before = this.#daemon.node.paths.pathsOf(peer.slot)?.preference ?? DEFAULT_PREFERENCE;
    const wanted = { order: order ?? before.order, exclude: exclude ?? before.exclude };
    return this.#daemon.mesh.preferPaths(peer, wanted);
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
    // After the farewell it could state nothing any more.
    const stated = await this.#stateLeaving();
    const told = await Promise.allSettled(
      this.#daemon.coordinators.ways.map((url) =>
        callCoordinator({ ...membership, urls: [url] }, identity, {
          method: "DELETE",
          path: `${PATHS.nodes}/${membership.reply.id}`,
          body: { record },
        })
      ),
    );
    // The user wants out: an unreachable coordinator must not hold the machine in the mesh.
    if (told.every(({ status }) => status === "rejected")) {
      const why = told.map((each) => each.status === "rejected" ? errorMessage(each.reason) : "");
      log("warn", "Left without telling a coordinator", { why: why.join("; ") });
    } else if (stated !== null) {
      log("warn", "Left, but the mesh's log has this node as a member still", { why: stated });
    }
    await removeMembership(state);
    this.#stopped.resolve("leave");
  }

  /** Takes this node out of the mesh's log; why that failed, or null. */
  async #stateLeaving(): Promise<string | null> {
    try {
      const { id } = this.#options.membership.reply;
      await this.#mesh.state({ type: "node-revoke", node: id, reason: "" });
      return null;
    } catch (error) {
      return errorMessage(error);
    }
  }

  stop(): void {
    this.#stopped.resolve("stop");
  }

  get mesh(): MeshAdmin {
    return this.#mesh;
  }

  /** What it takes is loaded only where metrics are wanted. */
  async #startMetrics(): Promise<void> {
    const { metricsPort: port, membership: { reply }, version, log } = this.#options;
    if (port === null) return;
    const [{ scrape }, { MetricsServer }] = await Promise.all([
      import("./metrics.ts"),
      import("./metrics_server.ts"),
    ]);
    const { node, plane, mesh: { filter } } = this.#daemon;
    this.#metrics = new MetricsServer({
      addresses: reply.addresses,
      port,
      scrape: () =>
        scrape({
          name: reply.name,
          version,
          filter: this.filter.report(),
          policySeq: filter.policySeq,
          nextExpiry: nextExpiry(this.#onlooker()),
          drops: this.#daemon.drops,
          filtered: [...node.peers.values()].map(({ name, slot }) => ({
            name,
            counts: plane.table.filtered(slot),
          })),
        }),
    });
    for (const problem of this.#metrics.problems) log("warn", problem);
  }

  #warnings(): string[] {
    const { membership: { reply }, logFile } = this.#options;
    return [
      ...controlWarnings(this.#daemon.node.control.report),
      ...revocationWarnings(logFile.log.state.revoked.get(reply.id)),
      ...[
        this.#daemon.mesh.policy.problem,
        this.filter.status().problem,
        ...this.#metrics?.problems ?? [],
        this.#names.problem,
      ].filter((text) => text !== null),
      ...expiryWarnings(this.#onlooker(), this.#mesh.isAdmin),
      ...exitWarnings(this.exits.report()),
    ];
  }

  /** Who looks at the members of the mesh here. */
  #onlooker(): Onlooker {
    const { membership: { reply }, logFile: { log }, wallTime } = this.#options;
    const { control } = this.#daemon.node;
    const { view, report } = control;
    return { own: reply.id, state: log.state, view, control: report, now: wallTime() };
  }

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
