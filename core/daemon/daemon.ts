/**
 * One running node: devices, machine and services wired together, and the only loop between them.
 *
 * An event goes into the machine, its effects are performed, the next deadline is set; nothing else
 * here decides anything.
 * @module
 */
import { z } from "zod";
import { unreachable } from "../assert.ts";
import { ControlClient, type ControlEffect, type ControlEvent } from "../control/client.ts";
import { Netmap } from "../control/messages.ts";
import { type Pin, Pins } from "../control/roster.ts";
import { DataPlaneBridge } from "../dataplane/bridge.ts";
import { mapped, unmapped } from "../dataplane/table.ts";
import { Zone } from "../dns/zone.ts";
import type { Drop } from "../drops.ts";
import { errorMessage } from "../errors.ts";
import type { Identity } from "../identity/keys.ts";
import { type Endpoint, formatEndpoint, formatPrefix, parseEndpoint, parsePrefix } from "../ip.ts";
import { type Millis, NEVER } from "../machine.ts";
import { type NodeEffect, NodeMachine, type StaticPeer } from "../node.ts";
import { openClock } from "../platform/linux/clock.ts";
import { configureInterface } from "../platform/linux/interface.ts";
import { trimMemory } from "../platform/linux/trim.ts";
import type { Route } from "../route/lpm.ts";
import { Device } from "../wireguard/device.ts";
import { ControlChannel } from "./control_channel.ts";
import { DataPlane } from "./dataplane.ts";
import { localEndpoints } from "./endpoints.ts";
import type { DataPlaneSettings } from "../dataplane/settings.ts";
import { loadKernelCode } from "./kernel_code.ts";
import type { Log } from "./log.ts";
import type { Membership } from "./membership.ts";
import { systemRandom } from "./system_random.ts";
import type { StateDir } from "./state_dir.ts";
import { TimestampFile } from "./timestamp_file.ts";

/** How a node runs; everything is resolved. */
export interface DaemonOptions {
  readonly version: string;
  readonly identity: Identity;
  readonly state: StateDir;
  readonly membership: Membership;
  readonly interfaceName: string;
  /** Bytes. */
  readonly mtu: number;
  readonly udpPort: number;
  readonly dataPlane: DataPlaneSettings;
  readonly staticPeers: readonly StaticPeer[];
  readonly log: Log;
  /** Seconds that a DNS answer may be kept, 0 to 5. */
  readonly dnsTtlSeconds: number;
  /** Shortens the rekey interval in tests. */
  readonly rekeyAfterMs?: number;
  /** Set back or forth in tests. */
  readonly wallTime: () => number;
}

/** What a start reads first. */
interface Loaded {
  readonly kernel: Uint8Array<ArrayBuffer>;
  readonly netmap: Netmap | null;
  readonly pins: readonly Pin[] | null;
  readonly timestamps: TimestampFile;
  readonly udpPort: number;
}

/** The port that was bound when the wanted one was taken. */
const KeptPort = z.strictObject({
  wanted: z.int().min(0).max(65_535),
  bound: z.int().min(1).max(65_535),
});

/** How often addresses of the machine are looked at. */
const ADDRESS_POLL_MS = 5_000;
/** After this the code that only starting needed is given back. */
const TRIM_DELAY_MS = 5_000;
/** Netmap and pins are written this long after they changed; a burst is one write. */
const SAVE_DELAY_MS = 250;
/** Route table or keypairs could not be written while a worker read them: try again. */
const ROUTE_RETRY_MS = 5;

type Timer = ReturnType<typeof setTimeout>;

/** The data plane and control plane of one node. */
export class Daemon {
  readonly node: NodeMachine;
  readonly plane: DataPlane;
  readonly zone: Zone;
  readonly clock: () => Millis;
  readonly startedAt: Millis;
  readonly options: DaemonOptions;
  /** Settles when the node can go on no longer. */
  readonly failed: Promise<never>;
  readonly #bridge: DataPlaneBridge;
  readonly #channel: ControlChannel;
  readonly #controlDrops = new Map<Drop, number>();
  readonly #fail: (error: Error) => void;
  #timer: Timer | undefined;
  #addressTimer: Timer | undefined;
  #saveTimer: Timer | undefined;
  #routeTimer: Timer | undefined;
  #trimTimer: Timer | undefined;
  #endpoints: readonly Endpoint[] = [];
  #isClosed = false;

  /**
   * Creates interface and socket and starts forwarding.
   *
   * @throws {MeshError} `privilege-missing`, `already-running`, `unsupported`, `system`.
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const clock = openClock();
    const [kernel, netmap, pins, timestamps, kept] = await Promise.all([
      loadKernelCode(),
      options.state.readJson("netmap.json", Netmap),
      options.state.readJson("seen.json", Pins),
      TimestampFile.open(options.state, options.wallTime),
      options.state.readJson("port.json", KeptPort),
    ]);
    // A port that was free once is tried again, so that peers still find this node there.
    const udpPort = kept?.wanted === options.udpPort ? kept.bound : options.udpPort;
    const daemon = new Daemon(options, clock, { kernel, netmap, pins, timestamps, udpPort });
    try {
      await daemon.plane.ready;
      const { cidr4, prefix6, addresses } = options.membership.reply;
      await configureInterface({
        name: options.interfaceName,
        mtu: options.mtu,
        addresses: addresses.map((address) =>
          `${address}/${(address.includes(":") ? prefix6 : cidr4).split("/")[1]}`
        ),
        routes: options.staticPeers.flatMap(({ allowedIps }) => allowedIps.map(formatPrefix)),
      });
      if (daemon.plane.udpPort !== options.udpPort) {
        const bound = daemon.plane.udpPort;
        await options.state.writeJson("port.json", { wanted: options.udpPort, bound });
      }
    } catch (error) {
      await daemon.close();
      throw error;
    }
    daemon.#pollAddresses();
    daemon.#trimTimer = setTimeout(trimMemory, TRIM_DELAY_MS);
    daemon.#turn(() => daemon.node.handle({ type: "tick" }, clock()));
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
    const { reply, record, urls, caCertificate } = options.membership;
    const { meshId, cidr4, prefix6 } = reply;
    this.zone = new Zone(options.dnsTtlSeconds);
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
      unknown: (ip, port) => this.#device({ type: "unknown-index", from: endpointOf(ip, port) }),
      failed: (error) => this.#fail(error),
    });
    this.#bridge = new DataPlaneBridge(this.plane.table);
    this.plane.table.setOwnAddresses(reply.addresses);
    const device = new Device({
      privateKey: options.identity.wireguard.privateKey,
      random: systemRandom,
      timestamp: () => kept.timestamps.next(),
      features: this.plane.features,
      ...(options.rekeyAfterMs ? { rekeyAfterMs: options.rekeyAfterMs } : {}),
    });
    const control = new ControlClient({
      identity: options.identity,
      urls: urls.map((url) => url.replace(/^https:/, "wss:") + "/api/v1/control"),
      facts: { meshId, cidr4, prefix6 },
      record,
      udpPort: this.plane.udpPort,
      bootId: systemRandom.bytes(8).toHex(),
      version: options.version,
      random: systemRandom,
      ...(kept.pins ? { pins: kept.pins } : {}),
      ...(kept.netmap?.meshId === meshId ? { netmap: kept.netmap } : {}),
    });
    const { id } = reply;
    this.node = new NodeMachine({ id, device, control, staticPeers: options.staticPeers });
    this.#channel = new ControlChannel({
      caCertificate,
      wallTime: options.wallTime,
      emit: (event: ControlEvent) => this.#control(event),
    });
  }

  /** Messages that the control thread dropped, and those of the workers, by reason. */
  get drops(): Record<string, number> {
    const drops = this.plane.table.drops();
    for (const [reason, count] of this.#controlDrops) drops[reason] = (drops[reason] ?? 0) + count;
    return drops;
  }

  /** Stops forwarding and removes the interface. The last netmap is on disk afterwards. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (
      const timer of [
        this.#timer,
        this.#addressTimer,
        this.#saveTimer,
        this.#routeTimer,
        this.#trimTimer,
      ]
    ) clearTimeout(timer);
    await this.#channel.close();
    await this.plane.close();
    if (this.#saveTimer !== undefined) await this.#save();
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
        const event = { type: "datagram", from: endpointOf(ip, port), bytes, underLoad } as const;
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
      if (this.#perform(effect)) touchesWorkers = true;
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

  /** The only place an effect becomes I/O. True when workers must look at the table. */
  #perform(effect: NodeEffect): boolean {
    switch (effect.type) {
      case "install-keypair":
      case "promote-keypair":
      case "forget-keypair":
      case "send-keepalive":
      case "use-endpoint":
        return this.#bridge.perform(effect);
      case "transmit": {
        const to = parseEndpoint(effect.to);
        if (to) this.plane.transmit(effect.bytes, mapped(to.ip), to.port);
        return false;
      }
      case "session-up":
      case "session-down":
        this.#logSession(effect);
        return effect.type === "session-down" && this.plane.table.dropStaged(effect.peer);
      case "drop":
        this.#controlDrops.set(effect.reason, (this.#controlDrops.get(effect.reason) ?? 0) + 1);
        return false;
      case "peer-added":
        this.plane.table.addPeer(effect.peer.slot);
        return false;
      case "peer-removed":
        this.plane.table.removePeer(effect.peer.slot);
        this.#bridge.remove(effect.peer.slot);
        return true;
      case "routes":
        this.#setRoutes(effect.routes);
        return false;
      case "names":
        this.zone.setNodes(effect.nodes, effect.coordinators);
        return false;
      case "save":
        this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_DELAY_MS);
        return false;
      default:
        return this.#performControl(effect);
    }
  }

  #performControl(effect: ControlEffect): boolean {
    const { log } = this.options;
    switch (effect.type) {
      case "connect":
      case "send":
      case "close":
        this.#channel.perform(effect);
        return false;
      case "state":
        log("info", `Coordinator ${effect.state}`, effect.error ? { reason: effect.error } : {});
        return false;
      case "refused":
        log("warn", "Coordinator refused this node", { code: effect.code, why: effect.message });
        return false;
      case "record-refused":
        log("warn", "Refused the record of a peer", {
          reason: effect.refusal.reason,
          peer: effect.refusal.id ?? "unknown",
          detail: effect.refusal.detail,
        });
        return false;
      case "netmap-changed":
      case "called":
        return false;
      default:
        return unreachable(effect);
    }
  }

  #logSession(effect: NodeEffect & { type: "session-up" | "session-down" }): void {
    const peer = this.node.peers.get(effect.peer)?.name ?? "unknown";
    if (effect.type === "session-up") {
      this.options.log("debug", "Session up", { peer, endpoint: effect.endpoint });
    } else this.options.log("debug", "Session down", { peer, reason: effect.reason });
  }

  #setRoutes(routes: readonly Route[]): void {
    clearTimeout(this.#routeTimer);
    if (this.plane.table.setRoutes(routes)) return;
    this.#routeTimer = setTimeout(() => this.#setRoutes(routes), ROUTE_RETRY_MS);
  }

  async #save(): Promise<void> {
    this.#saveTimer = undefined;
    const { state, log } = this.options;
    const { view } = this.node.control;
    try {
      await state.writeJson("seen.json", view.pins);
      await state.writeJson("netmap.json", view.snapshot);
    } catch (error) {
      log("error", "Cannot keep the netmap", { why: errorMessage(error) });
    }
  }

  #pollAddresses(): void {
    clearTimeout(this.#addressTimer);
    if (this.#isClosed) return;
    this.#addressTimer = setTimeout(() => this.#pollAddresses(), ADDRESS_POLL_MS);
    const { interfaceName } = this.options;
    const endpoints = localEndpoints(
      Deno.networkInterfaces(),
      interfaceName,
      this.plane.udpPort,
    );
    if (endpoints.join() === this.#endpoints.join()) return;
    this.#endpoints = endpoints;
    this.#control({ type: "set-endpoints", endpoints, udpPort: this.plane.udpPort });
  }
}

function endpointOf(ip: Uint8Array, port: number): Endpoint {
  return formatEndpoint(unmapped(ip), port);
}
