/**
 * Exits and routes of a running node: what it offers and uses, by the user's wish and the policy's
 * leave, brought into its record, its routes and its kernel.
 * @module
 */
import type { DirectEndpoint } from "../exit/client_plan.ts";
import { ExitChoice, type ExitEffect, type ExitHealth, START_MS } from "../exit/exit_choice.ts";
import { clashOf, destinationsOf, formatOffer } from "../exit/offers.ts";
import type { ExitPolicy } from "../exit/policy.ts";
import { chooseWays, type Ways } from "../exit/ways.ts";
import { errorMessage, MeshError } from "../errors.ts";
import type { PeerId } from "../ids.ts";
import { type Endpoint, type Ip, parseIp, parsePrefix, type Prefix } from "../ip.ts";
import type { Millis } from "../machine.ts";
import { internetPrefixes } from "../policy/internet.ts";
import { holds } from "../policy/ways.ts";
import type { NodeEvent, NodeMachine, NodePeer } from "../node.ts";
import { type LocalNetworks, localNetworks } from "../platform/linux/local_networks.ts";
import { meshInterfaces } from "../platform/linux/mesh_interfaces.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import { directEndpoints, type ServerAddresses, serversOf } from "./exit_endpoints.ts";
import { exitHealth } from "./exit_health.ts";
import { ExitKernel, type KernelWish } from "./exit_kernel.ts";
import { peerIdByName, plainRanges, requireExit, wayPeers } from "./exit_peers.ts";
import { kernelWish } from "./exit_plans.ts";
import type { ExitReport, RoutesReport } from "./exit_report.ts";
import { reportExits, reportRoutes } from "./exit_views.ts";
import type { ExitUse, ExitWishesFile, OfferWish } from "./exit_wishes.ts";
import type { Log } from "./log.ts";
import type { OwnRecord } from "./own_record.ts";

/** What exits of a node are made of. */
export interface ExitsOptions {
  readonly context: string;
  readonly interfaceName: string;
  readonly folder: string;
  readonly udpPort: number;
  /** On which this machine accepts connections of the mesh: SSH links, a coordinator's. */
  readonly tcpPorts: () => readonly number[];
  /** Coordinators by URL, or the proxy to them. */
  readonly urls: readonly string[];
  readonly node: NodeMachine;
  readonly record: OwnRecord;
  readonly wishes: ExitWishesFile;
  readonly addresses: ServerAddresses;
  readonly policy: ExitPolicy;
  readonly readiness: Readiness;
  /** Who is at the other end of the control channel. */
  readonly remote: () => Ip | null;
  readonly clock: () => Millis;
  readonly emit: (event: NodeEvent) => void;
  /** Says whether packets for others are passed on. */
  readonly setForwards: (forwards: boolean) => void;
  /** What {@link Exits.offered} tells changed. */
  readonly offeredChanged: () => void;
  readonly log: Log;
}

/** How often exits are looked after while one is asked for. */
const LOOK_MS = 500;
/** Other contexts come and go unheard, so all is followed anew this often. */
const FOLLOW_MS = 5_000;
/** Changes that come together are followed once. */
const SETTLE_MS = 50;
/** How often it is looked whether an exit that was chosen has answered. */
const ANSWER_MS = 50;
/** Names of servers are looked up anew this often while an exit is asked for. */
const REFRESH_MS = 60_000;

/** See the module's doc. */
export class Exits {
  readonly #options: ExitsOptions;
  readonly #choice = new ExitChoice();
  readonly #ranges: readonly Prefix[];
  #kernel: ExitKernel | null = null;
  #effect: ExitEffect = { type: "direct", isWanted: true };
  #ways: Ways = { byPeer: new Map(), subnets: [], routes: [] };
  #configured = JSON.stringify([[], "block"]);
  #told = "";
  #networks: LocalNetworks = { lan: [], containers: [], addresses: [] };
  #timer: ReturnType<typeof setInterval> | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #refreshedAt: Millis = -Infinity;
  #followedAt: Millis = -Infinity;
  #onWay: () => void = () => {};
  #isClosed = false;

  constructor(options: ExitsOptions) {
    this.#options = options;
    const { cidr4, prefix6 } = options.node.control.view.facts;
    this.#ranges = [cidr4, prefix6].map((text) => parsePrefix(text)!);
  }

  /** Begins; the kill switch is closed before this resolves. */
  async start(): Promise<void> {
    const { folder, readiness, log } = this.#options;
    this.#kernel = await ExitKernel.open(folder, { readiness, log, onChange: () => {} });
    await this.#lookAround();
    await this.#offer();
    await this.#follow();
  }

  /**
   * What this node leads to, for its packet filter; and its own addresses outside the mesh, which
   * packets may have too that an exit's users send: they are judged as those to the node itself.
   */
  get offered(): { readonly destinations: Prefix[]; readonly own: readonly Prefix[] } {
    const { offer } = this.#options.wishes;
    const destinations = destinationsOf(offer, this.#ranges);
    return { destinations, own: destinations.length > 0 ? this.#networks.addresses : [] };
  }

  /** The netmap, the policy or a session changed. */
  changed(): void {
    if (this.#kernel === null || this.#isClosed) return;
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      void this.#follow();
    }, SETTLE_MS);
  }

  /** Addresses, routes or interfaces of the machine changed. */
  async networkChanged(): Promise<void> {
    if (this.#kernel === null || this.#isClosed) return;
    await this.#lookAround();
    if (this.offered.own.length > 0) this.#options.offeredChanged();
    this.#kernel?.retry();
    await this.#follow();
  }

  /** Chooses exits; what is not said stays as it is. */
  async use(wish: Partial<ExitUse>): Promise<ExitReport> {
    const { wishes, node, policy } = this.#options;
    const next = { ...wishes.use, ...wish };
    if (next.exits.length > 0 && wishes.offer.isExit) throw bothWays();
    for (const name of wish.exits ?? []) requireExit(node, policy, name);
    await wishes.chooseUse(next);
    await this.#follow();
    await this.#firstAnswer();
    return this.report();
  }

  /** Gives an exit that was chosen the time it takes to answer. */
  async #firstAnswer(): Promise<void> {
    const end = this.#options.clock() + START_MS;
    while (this.#effect.type === "block" && !this.#isClosed && this.#options.clock() < end) {
      await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
    }
  }

  /** Chooses what this node offers; what is not said stays as it is. */
  async offer(wish: Partial<OfferWish>): Promise<RoutesReport> {
    const { wishes } = this.#options;
    const next = { ...wishes.offer, ...wish };
    if (next.isExit && wishes.use.exits.length > 0) throw bothWays();
    const clash = clashOf(next.routes, this.#taken());
    if (clash !== null) {
      throw new MeshError("config-invalid", `Cannot offer ${formatOffer(clash)}: it is in use`, {
        hint: "Map it to a free range: NETWORK as OTHER_NETWORK of the same length",
      });
    }
    await wishes.chooseOffer(next);
    await this.#offer();
    await this.#follow();
    return this.routes();
  }

  report(): ExitReport {
    const { node, wishes, policy } = this.#options;
    return reportExits({
      node,
      policy,
      use: wishes.use,
      offer: wishes.offer,
      effect: this.#effect,
      exit: this.#choice.exit,
      idOf: (name) => this.#idOf(name),
      healthOf: (id) => this.#healthOf(id),
      problem: this.#kernel?.problem ?? null,
      obstacles: this.#kernel?.obstacles ?? [],
    });
  }

  routes(): RoutesReport {
    const { node, wishes, policy } = this.#options;
    const problem = this.#kernel?.problem ?? null;
    return reportRoutes({ self: node.id, policy, offer: wishes.offer, ways: this.#ways, problem });
  }

  /** Whether traffic to the internet goes through an exit or nowhere, and names with it. */
  get isHeld(): boolean {
    return this.#effect.type !== "direct";
  }

  /** Calls back whenever that traffic goes another way. */
  onWay(callback: () => void): void {
    this.#onWay = callback;
  }

  /** Whom to ask about names outside the mesh: through the exit while one is asked for. */
  upstreams(usual: readonly (Ip | Endpoint)[]): readonly (Ip | Endpoint)[] {
    if (this.#effect.type === "direct") return usual;
    if (this.#effect.type === "block") return [];
    const exit = this.#peerOf(this.#effect.exit);
    // A resolver in the LAN is out of reach, and would ask past the exit.
    const isPublic = (ip: Ip) => {
      const bytes = parseIp(ip);
      return bytes !== null &&
        internetPrefixes().some((prefix) => holds(prefix, { bytes, bits: 8 * bytes.length }));
    };
    return [...exit?.addresses.slice(0, 1) ?? [], ...usual.filter(isPublic)];
  }

  /** Whether the client is a member that leaves the mesh here, and so asks here for all names. */
  resolvesFor(client: Ip): boolean {
    const { node, wishes, policy } = this.#options;
    if (!wishes.offer.isExit) return false;
    const peer = [...node.peers.values()].find(({ addresses }) => addresses.includes(client));
    return peer?.id != null && policy.mayUseExit(peer.id, node.id);
  }

  /** @param opens Whether the kill switch opens: users end the node, and nothing failed. */
  async close(opens: boolean): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#settling);
    await this.#kernel?.close(opens);
    this.#kernel = null;
  }

  /** States in the record what this node offers. */
  async #offer(): Promise<void> {
    const { wishes, record, setForwards, offeredChanged, log } = this.#options;
    setForwards(wishes.offer.isExit || wishes.offer.routes.length > 0);
    offeredChanged();
    try {
      await record.offer(wishes.offer);
    } catch (error) {
      log("error", "Cannot keep the record of this node", { why: errorMessage(error) });
    }
  }

  /** Does what follows from what is known now. */
  async #follow(): Promise<void> {
    const isWatched = this.#options.wishes.use.exits.length > 0;
    if (!isWatched) clearInterval(this.#timer);
    else if (this.#timer === undefined) this.#timer = setInterval(() => this.#look(), LOOK_MS);
    if (!isWatched) this.#timer = undefined;
    this.#followedAt = this.#options.clock();
    this.#judge();
    this.#lead();
    await this.#kernel?.want(this.#wish());
  }

  /** Which exit is used; true when that is news. */
  #judge(): boolean {
    const { wishes: { use }, clock } = this.#options;
    const now = clock();
    // A name that no peer has yet stands for itself: an exit that is not there is no missing wish.
    const ids = use.exits.map((name) => this.#idOf(name) ?? `name:${name}`);
    const effects = ids.flatMap((exit) =>
      this.#choice.handle({ type: "health", exit, health: this.#healthOf(exit) }, now)
    );
    const configured = JSON.stringify([ids, use.onLoss]);
    if (configured !== this.#configured) {
      this.#configured = configured;
      const { onLoss } = use;
      effects.push(...this.#choice.handle({ type: "configure", exits: ids, onLoss }, now));
    }
    this.#take(effects);
    return effects.length > 0;
  }

  /** Looks after exits: keeps sessions with them and their paths alive. */
  #look(): void {
    const { node, clock, emit, log, addresses, urls } = this.#options;
    const now = clock();
    for (const name of this.#options.wishes.use.exits) {
      const id = this.#idOf(name);
      const slot = id === null ? undefined : node.slotOf(id);
      if (slot === undefined) continue;
      if (node.device.report(slot)?.state !== "up") {
        emit({ type: "device", event: { type: "session-wanted", peer: slot } });
      }
      emit({ type: "path", event: { type: "traffic", peer: slot } });
    }
    if (now >= this.#refreshedAt + REFRESH_MS) {
      this.#refreshedAt = now;
      addresses.refresh(serversOf(urls)).then((isChanged) => isChanged && this.changed())
        .catch((error) => log("warn", "Cannot keep addresses", { why: errorMessage(error) }));
    }
    if (this.#judge() || now >= this.#followedAt + FOLLOW_MS) void this.#follow();
  }

  #take(effects: readonly ExitEffect[]): void {
    const last = effects.at(-1);
    if (last === undefined) return;
    this.#effect = last;
    const exit = last.type === "use" ? this.#peerOf(last.exit)?.name ?? last.exit : undefined;
    this.#onWay();
    this.#options.log("info", `Exit: ${last.type}`, exit === undefined ? {} : { exit });
  }

  /** Tells the packet path where packets go. */
  #lead(): void {
    const { node, policy, emit } = this.#options;
    this.#ways = chooseWays({
      node: node.id,
      peers: wayPeers(node),
      policy,
      exit: this.#effect.type === "use" ? this.#effect.exit : null,
      meshRanges: this.#taken(),
      localNetworks: [...this.#networks.lan, ...this.#networks.containers],
    });
    const told = JSON.stringify([...this.#ways.byPeer]);
    if (told === this.#told) return;
    this.#told = told;
    emit({ type: "ways", ways: this.#ways.byPeer });
  }

  /** What the kernel shall do. */
  #wish(): KernelWish {
    const { context, interfaceName, udpPort, tcpPorts, wishes } = this.#options;
    const isIdle = !this.isHeld && this.#ways.subnets.length === 0;
    return kernelWish({
      context,
      interfaceName,
      udpPorts: [udpPort],
      tcpPorts: tcpPorts(),
      wishes,
      isHeld: this.isHeld,
      subnets: this.#ways.subnets,
      endpoints: isIdle ? [] : this.#endpoints(),
      networks: this.#networks,
      meshRanges: this.#ranges,
      otherMeshes: isIdle ? [] : meshInterfaces().filter((each) => each.context !== context),
    });
  }

  #endpoints(): DirectEndpoint[] {
    const { node, urls, addresses, remote } = this.#options;
    const { view } = node.control;
    const wanted = this.#options.wishes.use.exits.map((name) => this.#idOf(name));
    const rank = ({ id, online }: { id: PeerId; online: boolean }) =>
      wanted.includes(id) ? 0 : online ? 1 : 2;
    const peers = [...view.peers.values()].filter(({ id }) => id !== node.id);
    return directEndpoints({
      servers: serversOf(urls),
      addressesOf: (host) => addresses.of(host),
      remote: remote(),
      peers: peers.sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1)),
      facts: view.facts,
    });
  }

  async #lookAround(): Promise<void> {
    const { interfaceName } = this.#options;
    const names = [interfaceName, ...meshInterfaces().map(({ name }) => name)];
    this.#networks = await localNetworks(names);
  }

  /** Ranges that no network of others may have. */
  #taken(): Prefix[] {
    return [...this.#ranges, ...plainRanges(this.#options.node)];
  }

  #healthOf(exit: PeerId): ExitHealth {
    const { node, policy, clock } = this.#options;
    return exitHealth(node, policy, exit, clock());
  }

  #peerOf(id: PeerId): NodePeer | undefined {
    const { node } = this.#options;
    return node.peers.get(node.slotOf(id) ?? -1);
  }

  #idOf(name: string): PeerId | null {
    return peerIdByName(this.#options.node, name);
  }
}

function bothWays(): MeshError {
  return new MeshError("config-invalid", "Cannot use an exit: this node is one itself", {
    hint: "Take back one of the two: --allow-exit-traffic, or --exit-node",
  });
}
