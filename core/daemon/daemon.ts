/**
 * One running node: devices, machine and services wired together, and the only loop between them.
 *
 * An event goes into the machine, its effects are performed, the next deadline is set; nothing else
 * here decides anything.
 * @module
 */
import { assert } from "../assert.ts";
import { type ControlEvent } from "../control/client.ts";
import { Netmap } from "../control/messages.ts";
import { Pins } from "../control/roster.ts";
import { DataPlaneBridge } from "../dataplane/bridge.ts";
import { Zone } from "../dns/zone.ts";
import { formatPrefix, parsePrefix } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import { type NodeEffect, NodeMachine } from "../node.ts";
import { openClock } from "../platform/clocks.ts";
import { configureInterface } from "../platform/linux/interface.ts";
import { aliasOf, meshInterfaces } from "../platform/linux/mesh_interfaces.ts";
import { type PathEvent } from "../path/agent.ts";
import { isStun } from "../stun/message.ts";
import { Readiness } from "../platform/linux/readiness.ts";
import { Device } from "../wireguard/device.ts";
import type { NetcheckReport } from "./api_types.ts";
import { Carriers } from "./carriers.ts";
import { type DaemonOptions, type Loaded, openNode } from "./open_node.ts";
import { Coordinators } from "./coordinators.ts";
import { ControlChannel } from "./control_channel.ts";
import { DataPlane } from "./dataplane.ts";
import { Effects } from "./effects.ts";
import { MachineWatch } from "./machine_watch.ts";
import { MeshFollower } from "./mesh_follower.ts";
import { exitPolicyOf } from "../exit/policy.ts";
import { openExits } from "./open_exits.ts";
import type { Exits } from "./exits.ts";
import { OwnRecord } from "./own_record.ts";
import { keepPort, portToTry } from "./kept_port.ts";
import { NetmapKeeper } from "./netmap_keeper.ts";
import { loadKernelCode } from "./kernel_code.ts";
import { PathShell } from "./path_shell.ts";
import { Reachability } from "./reachability.ts";
import { systemRandom } from "./system_random.ts";
import { TimestampFile } from "./timestamp_file.ts";
import { trimLater } from "./trim_timer.ts";

/** Where the UDP port is kept. */
const PORT_FILE = "port.json";
type Timer = ReturnType<typeof setTimeout>;

/** The data plane and control plane of one node. */
export class Daemon {
  readonly node: NodeMachine;
  readonly plane: DataPlane;
  readonly coordinators: Coordinators;
  readonly zone: Zone;
  readonly clock: () => Millis;
  readonly startedAt: Millis;
  readonly mesh: MeshFollower;
  readonly options: DaemonOptions;
  readonly record: OwnRecord;
  /** Settles when the node can go on no longer. */
  readonly failed: Promise<never>;
  readonly #bridge: DataPlaneBridge;
  readonly #channel: ControlChannel;
  readonly #effects: Effects;
  readonly #paths: PathShell;
  readonly #readiness = new Readiness();
  readonly #carriers: Carriers;
  readonly #reachability: Reachability;
  readonly #keeper: NetmapKeeper;
  readonly #fail: (error: Error) => void;
  #exits: Exits | null = null;
  #timer: Timer | undefined;
  #trim: { close(): void } | undefined;
  #watcher: MachineWatch | undefined;
  #isClosed = false;

  /**
   * Creates interface and socket and starts forwarding.
   *
   * @throws {MeshError} `privilege-missing`, `already-running`, `unsupported`, `system`.
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const clock = openClock();
    const [kernel, netmap, pins, timestamps, udpPort] = await Promise.all([
      loadKernelCode(),
      options.state.readJson("netmap.json", Netmap),
      options.state.readJson("seen.json", Pins),
      TimestampFile.open(options.state, options.wallTime),
      portToTry(options.state, PORT_FILE, options.udpPort),
    ]);
    const daemon = new Daemon(options, clock, { kernel, netmap, pins, timestamps, udpPort });
    try {
      await Promise.all([daemon.plane.ready, daemon.mesh.prepare()]);
      const { cidr4, prefix6, addresses } = options.membership.reply;
      await configureInterface({
        name: options.interfaceName,
        alias: aliasOf(options.context),
        mtu: options.mtu,
        addresses: addresses.map((address) =>
          `${address}/${(address.includes(":") ? prefix6 : cidr4).split("/")[1]}`
        ),
        routes: options.staticPeers.flatMap(({ allowedIps }) => allowedIps.map(formatPrefix)),
      });
      const bound = daemon.plane.udpPort;
      await keepPort(options.state, PORT_FILE, { wanted: options.udpPort, bound });
    } catch (error) {
      await daemon.close();
      throw error;
    }
    await daemon.#carriers.start();
    daemon.#reachability.start();
    daemon.#watch();
    daemon.mesh.start();
    daemon.#trim = trimLater();
    daemon.#turn(() => daemon.node.handle({ type: "tick" }, clock()));
    try {
      daemon.#exits = await daemon.#openExits();
      daemon.mesh.filter.offeredChanged();
    } catch (error) {
      await daemon.close();
      throw error;
    }
    daemon.coordinators.start();
    return daemon;
  }

  private constructor(
    options: DaemonOptions,
    clock: () => Millis,
    kept: Loaded,
  ) {
    this.options = options;
    this.clock = clock;
    this.startedAt = clock();
    const { promise, reject } = Promise.withResolvers<never>();
    this.failed = promise;
    this.failed.catch(() => {});
    this.#fail = reject;
    const { reply, caCertificate } = options.membership;
    const { cidr4, prefix6 } = reply;
    this.zone = new Zone(options.dnsTtlSeconds, options.context);
    this.zone.setRanges([cidr4, prefix6].flatMap((text) => parsePrefix(text) ?? []));
    this.plane = new DataPlane({
      interfaceName: options.interfaceName,
      mtu: options.mtu,
      udpPort: kept.udpPort,
      settings: options.dataPlane,
      kernel: kept.kernel,
    }, {
      flags: () => this.#collect(),
      control: (datagrams, underLoad) => this.#receive(datagrams, underLoad),
      path: (datagrams) => this.#paths.received(datagrams),
      unknown: (ip, port) => {
        const { from } = this.#paths.origin(ip, port);
        this.#device({ type: "unknown-index", from });
      },
      failed: (error) => this.#fail(error),
    });
    this.#bridge = new DataPlaneBridge(this.plane.table);
    this.plane.table.setOwnAddresses(reply.addresses);
    this.node = openNode(options, this.plane, kept);
    this.#keeper = new NetmapKeeper(options.state, this.node.control.view, options.log);
    this.record = new OwnRecord(options, (record) => this.#control({ type: "set-record", record }));
    const emit = (event: ControlEvent) => this.#control(event);
    this.#channel = new ControlChannel({
      caCertificate,
      wallTime: options.wallTime,
      emit,
    });
    this.#paths = this.#openPaths();
    this.#carriers = this.#openCarriers();
    this.#reachability = this.#openReachability();
    this.mesh = new MeshFollower(options, {
      node: this.node,
      clock,
      emit: (event) => this.#turn(() => this.node.handle(event, clock())),
      rulesChanged: () => this.#effects.publishRules(),
      offered: () => this.#exits?.offered ?? { destinations: [], own: [] },
    });
    this.coordinators = this.#openCoordinators(emit);
    this.#effects = this.#openEffects();
  }

  #openEffects(): Effects {
    const { logFile, log } = this.options;
    return new Effects({
      node: this.node,
      plane: this.plane,
      bridge: this.#bridge,
      paths: this.#paths,
      carriers: this.#carriers,
      reachability: this.#reachability,
      channel: this.#channel,
      zone: this.zone,
      filter: this.mesh.filter,
      changed: () => this.#exits?.changed(),
      log,
      added: (peer) => this.mesh.followChoice(peer),
      logFile,
      meshChanged: () => {
        this.mesh.changed();
        this.#exits?.changed();
      },
      save: () => {
        this.coordinators.changed();
        this.#keeper.changed();
      },
    });
  }

  #openPaths(): PathShell {
    return new PathShell({
      plane: this.plane,
      readiness: this.#readiness,
      idOf: (peer) => this.node.peers.get(peer)?.id ?? null,
      slotOf: (peer) => this.node.slotOf(peer),
      emit: (event) => this.#path(event),
      observed: (endpoint) => this.#reachability.observed(endpoint),
    });
  }

  #openCoordinators(emit: (event: ControlEvent) => void): Coordinators {
    const { membership, logFile: { log }, localCoordinator: local } = this.options;
    const setRelays = (urls: readonly string[]) => this.#carriers.setRelays(urls);
    const { view } = this.node.control;
    return new Coordinators({ membership, log, view, local, emit, setRelays });
  }

  #openCarriers(): Carriers {
    const { relays, openLinks, openRelay, membership, log } = this.options;
    return new Carriers({
      node: this.node,
      paths: this.#paths,
      readiness: this.#readiness,
      address: membership.reply.addresses[0],
      relays,
      openLinks,
      openRelay,
      clock: this.clock,
      emit: (event) => this.#path(event),
      log,
    });
  }

  #openExits(): Promise<Exits> {
    return openExits(this.options, {
      node: this.node,
      plane: this.plane,
      record: this.record,
      readiness: this.#readiness,
      policy: exitPolicyOf(() => this.mesh.policy.subjects),
      sshPort: () => this.#carriers.sshPort,
      remote: () => this.#channel.remote,
      clock: this.clock,
      emit: (event) => this.#turn(() => this.node.handle(event, this.clock())),
      offeredChanged: () => this.mesh.filter.offeredChanged(),
    });
  }

  /** What leads out of the mesh; a daemon that has started has it. */
  get exits(): Exits {
    assert(this.#exits !== null, "the daemon has started");
    return this.#exits;
  }

  #openReachability(): Reachability {
    const { openPortMapper, interfaceName, relays, log } = this.options;
    const { udpPort } = this.plane;
    return new Reachability({
      clock: this.clock,
      random: systemRandom,
      udpPort,
      meshInterfaces: () => [interfaceName, ...meshInterfaces().map(({ name }) => name)],
      links: () => ({ relays, sshPort: this.#carriers.sshPort, ...this.coordinators.announced }),
      transmit: (to, bytes) => this.#paths.transmit(to, undefined, bytes),
      emit: (event) => this.#turn(() => this.node.handle(event, this.clock())),
      openPortMapper: openPortMapper && ((onChange) => openPortMapper(udpPort, onChange)),
      log,
    });
  }

  /** Notices other addresses and routes, and the end of a sleep. */
  #watch(): void {
    const { interfaceName: ignoreInterface, log } = this.options;
    this.#watcher = new MachineWatch(
      { readiness: this.#readiness, ignoreInterface, log },
      (why) => {
        this.#reachability.networkChanged(why);
        this.#carriers.reconnect();
        this.#control({ type: "reconnect" });
        void this.#exits?.networkChanged();
      },
    );
  }

  #path(event: PathEvent): void {
    this.#turn(() => this.node.handle({ type: "path", event }, this.clock()));
  }

  /** Messages that the control thread dropped, and those of the workers, by reason. */
  get drops(): Record<string, number> {
    const drops = this.plane.table.drops();
    for (const [reason, count] of this.#effects.drops) drops[reason] = (drops[reason] ?? 0) + count;
    return drops;
  }

  /** What is between this node and the internet. */
  netcheck(): NetcheckReport {
    return { ...this.#reachability.report, relays: this.#carriers.relays };
  }

  /**
   * Stops forwarding and removes the interface. The last netmap is on disk afterwards.
   * @param opensExit See {@link Exits.close}.
   */
  async close(opensExit = false): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#exits?.close(opensExit);
    clearTimeout(this.#timer);
    this.#trim?.close();
    await this.#watcher?.close();
    this.#effects.close();
    this.mesh.close();
    this.coordinators.close();
    await this.#reachability.close();
    await this.#carriers.close();
    await this.#channel.close();
    await this.#paths.close();
    await this.#readiness.shutdown();
    await this.plane.close();
    await this.#keeper.close();
  }

  #device(event: Parameters<Device["handle"]>[0]): void {
    this.#turn(() => this.node.handle({ type: "device", event }, this.clock()));
  }

  #control(event: ControlEvent): void {
    this.#turn(() => this.node.handle({ type: "control", event }, this.clock()));
  }

  #receive(
    datagrams: readonly { bytes: Uint8Array; ip: Uint8Array; port: number }[],
    underLoad: boolean,
  ): void {
    this.#turn(() =>
      datagrams.flatMap(({ bytes, ip, port }) => {
        // A link has said who its peer is; only addresses of strangers need a proof.
        const { from, peer } = this.#paths.origin(ip, port);
        if (isStun(bytes)) {
          this.#reachability.datagram(from, bytes);
          return [];
        }
        const isLoaded = underLoad && peer === null;
        const event = { type: "datagram", from, bytes, underLoad: isLoaded } as const;
        return this.node.handle({ type: "device", event }, this.clock());
      })
    );
  }

  /** What the workers raised. */
  #collect(): void {
    this.#turn(() => {
      const now = this.clock();
      return this.#bridge.collect(this.node.peers.keys(), now).flatMap((event) =>
        this.node.handle({ type: "device", event }, now)
      );
    });
  }

  /** One turn of the loop: effects of an event, then the next deadline. */
  #turn(take: () => NodeEffect[]): void {
    if (this.#isClosed) return;
    let touchesWorkers = false;
    for (const effect of take()) {
      if (this.#effects.perform(effect)) touchesWorkers = true;
    }
    if (touchesWorkers) this.plane.kick();
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const deadline = Math.min(this.node.deadline, this.#bridge.deadline);
    if (deadline === NEVER) return;
    // setTimeout takes 31 bits; waking early is harmless.
    const delay = Math.min(Math.max(0, Math.ceil(deadline - this.clock())), 2 ** 31 - 1);
    this.#timer = setTimeout(() => {
      this.#collect();
      this.#turn(() => this.node.handle({ type: "tick" }, this.clock()));
    }, delay);
  }
}
