/**
 * A machine of the simulation: the product's own node and packet path, with simulated devices.
 *
 * It does with effects what the daemon does (`core/daemon/daemon.ts`), over virtual time.
 * @module
 */
import type { ControlEvent } from "../../core/control/client.ts";
import type { RegisterReply } from "../../core/control/messages.ts";
import { nobleAead } from "../../core/dataplane/aead.ts";
import { DataPlaneBridge } from "../../core/dataplane/bridge.ts";
import type { SharedState } from "../../core/dataplane/layout.ts";
import { RxPath, VERDICT } from "../../core/dataplane/rx_path.ts";
import { mapped, PeerTable } from "../../core/dataplane/table.ts";
import { DATA_HEADER, DATA_TRAILER, TxPath } from "../../core/dataplane/tx_path.ts";
import { Sealer } from "../../core/dataplane/sealer.ts";
import { Zone } from "../../core/dns/zone.ts";
import { type JoinToken } from "../../core/identity/token.ts";
import {
  type Endpoint,
  formatEndpoint,
  type Ip,
  parseEndpoint,
  parsePrefix,
} from "../../core/ip.ts";
import { NEVER } from "../../core/machine.ts";
import type { NodeEffect, NodeMachine } from "../../core/node.ts";
import type { PathPreference } from "../../core/path/peer_paths.ts";
import { heardPeers } from "../../core/daemon/heard.ts";
import type { SyncAlert } from "../../core/state/sync.ts";
import type { PeerSlot } from "../../core/wireguard/device.ts";
import type { Coordinator } from "./coordinator.ts";
import { HostPaths } from "./host_paths.ts";
import type { Disk, HostOptions, Running } from "./host_types.ts";
import { HostFilter } from "./host_filter.ts";
import { HostControl } from "./host_control.ts";
import type { HostMesh } from "./host_mesh.ts";
import { eventOf, MTU, openHostNode, PORT } from "./host_node.ts";
import { LogDisk } from "./log_disk.ts";
import { type Applicant, joinMesh, leaveMesh, readLog } from "./membership.ts";

export type { HostOptions } from "./host_types.ts";

/** How often it is looked who has expired; the daemon's clocks are not moved on by days. */
const REVIEW_MS = 60_000;

/** Memory that is not as it was made: pages that nothing was written to take no place. */
const usedMemory = new WeakSet<SharedState>();

/** One machine. */
export class Host {
  readonly name: string;
  readonly zone = new Zone();
  /** Packets that came out of the tunnel. */
  onPacket: (packet: Uint8Array) => void = () => {};
  /** Added to this machine's wall clock. */
  clockOffset = 0;
  /** Whom it asks; another one may say to be the same. */
  coordinator: Coordinator;
  /** What it reported of the mesh's log. */
  readonly alerts: SyncAlert[] = [];
  readonly #options: HostOptions;
  readonly #wallTime = () => this.#options.world.wallTime + this.clockOffset;
  readonly #disk: Disk = { membership: null, log: null, netmap: null, pins: [], watermark: 0 };
  #ips: readonly Ip[];
  #running: Running | null = null;
  #isAsleep = false;
  #isUnplugged = false;
  #isCollecting = false;
  #timerFor = NEVER;

  constructor(options: HostOptions) {
    this.#options = options;
    this.name = options.name;
    this.coordinator = options.coordinator;
    this.#ips = options.ips;
  }

  get endpoint(): Endpoint {
    return formatEndpoint(this.#ips[0]!, PORT);
  }

  get isRunning(): boolean {
    return this.#running !== null && !this.#isAsleep;
  }

  get isAsleep(): boolean {
    return this.#isAsleep;
  }

  get paths(): HostPaths {
    return this.#running!.paths;
  }

  get node(): NodeMachine {
    return this.#running!.node;
  }

  /** The mesh's log and policy here. */
  get mesh(): HostMesh {
    return this.#running!.mesh;
  }

  /** Who asks the coordinator for something. */
  get applicant(): Applicant {
    return { coordinator: this.coordinator, identity: this.#options.identity, name: this.name };
  }

  get reply(): RegisterReply {
    return this.#disk.membership!.reply;
  }

  get isConnected(): boolean {
    return this.#running?.node.control.report.state === "connected";
  }

  /** Registers with the coordinator. @throws {MeshError} what it refuses with. */
  join(token: JoinToken | null): void {
    const { membership } = this.#disk;
    const joined = joinMesh(this.applicant, { token, membership }, this.#wallTime());
    const { meshId } = joined.reply;
    this.#disk.log ??= LogDisk.of(readLog(this.applicant, meshId, null));
    this.#disk.membership = joined;
  }

  /** Gives name and address back and stops. */
  leave(): void {
    leaveMesh(this.applicant, this.#disk.membership!);
    this.kill();
    Object.assign(this.#disk, { membership: null, log: null, netmap: null, pins: [] });
  }

  /** Starts the process over what is on disk. */
  start(): void {
    const { world, network, identity, memory } = this.#options;
    const { reply } = this.#disk.membership!;
    const { cidr4, prefix6 } = reply;
    if (usedMemory.has(memory)) memory.bytes.fill(0);
    usedMemory.add(memory);
    const table = new PeerTable(memory);
    table.setOwnAddresses(reply.addresses);
    table.openFlows(1);
    const here = { endpoint: this.endpoint, wallTime: this.#wallTime };
    const { node, mesh } = openHostNode(this.#options, this.#disk, here);
    const send = (peer: number, bytes: Uint8Array, at: number, length: number) => {
      for (const to of [table.endpoint(peer), table.standby(peer)]) {
        if (to) this.paths.forward(to, bytes.subarray(at, at + length));
      }
    };
    const { peerId: id } = identity;
    const { relays = [], stunServers = [], viaNodes = null } = this.#options;
    this.#running = {
      node,
      paths: new HostPaths({
        ...{ world, network, id, node, table, relays, stunServers, viaNodes },
        sealer: new Sealer(memory, nobleAead),
        port: PORT,
        ips: () => this.#ips,
        emit: (event) => {
          if (this.isRunning) this.#turn(this.node.handle(event, world.now));
        },
        inbound: (from, bytes) => {
          if (this.isRunning) this.#receive(from, bytes);
        },
      }),
      table,
      bridge: new DataPlaneBridge(table),
      tx: new TxPath(memory, nobleAead, { send, flush: () => {} }, MTU),
      rx: new RxPath(memory, nobleAead),
      filter: new HostFilter(table, node, reply.addresses),
      mesh,
      channel: this.#openChannel(),
    };
    const { filter } = this.#running;
    mesh.enforce(node.control.view, (rules) => filter.setPolicy(rules));
    this.zone.setRanges([cidr4, prefix6].map((text) => parsePrefix(text)!));
    world.note(`${this.name} starts`);
    this.#reviewLater(this.#running);
    this.#turn(this.#running.node.handle({ type: "tick" }, world.now));
    this.paths.start();
  }

  /** `kill -9`. */
  kill(): void {
    this.#options.world.note(`${this.name} killed`);
    this.#running?.paths.close();
    this.#running?.channel.close();
    this.#running = null;
    this.#isAsleep = false;
  }

  /** The lid closes: nothing is sent, received or timed until {@link wake}. */
  sleep(): void {
    this.#options.world.note(`${this.name} sleeps`);
    this.#isAsleep = true;
    this.paths.detach();
  }

  wake(): void {
    this.#options.world.note(`${this.name} wakes`);
    this.#isAsleep = false;
    this.paths.start();
    this.paths.networkChanged();
    this.#control({ type: "reconnect" });
    this.#tick();
  }

  /** The machine gets other addresses. */
  roam(...ips: Ip[]): void {
    this.paths.detach();
    this.#ips = ips;
    this.#options.world.note(`${this.name} roams to ${ips.join(" ")}`);
    this.paths.start();
    this.paths.networkChanged();
    this.#control({ type: "reconnect" });
  }

  /** The machine goes on, but without a network, until {@link plug}. */
  unplug(): void {
    this.#isUnplugged = true;
    this.paths.detach();
  }

  plug(): void {
    this.#isUnplugged = false;
    this.roam(...this.#ips);
  }

  /** The user chooses kinds of path for a peer. */
  prefer(peer: PeerSlot, preference: PathPreference): void {
    const event = { type: "prefer", peer, preference } as const;
    this.#turn(this.node.handle({ type: "path", event }, this.#options.world.now));
  }

  /** The operating system sends an IP packet into the tunnel. */
  sendPacket(packet: Uint8Array): void {
    const { tx } = this.#running!;
    const bytes = new Uint8Array(DATA_HEADER + packet.length + DATA_TRAILER);
    bytes.set(packet, DATA_HEADER);
    tx.begin(Math.floor(this.#options.world.now / 1_000));
    tx.packet(bytes, DATA_HEADER, packet.length);
    tx.end();
    this.#notified();
  }

  #openChannel(): HostControl {
    return new HostControl({
      coordinator: () => this.coordinator,
      remote: () => this.#remote(),
      wallTime: this.#wallTime,
      isCut: () => this.#isUnplugged,
      emit: (event) => this.#control(event),
    });
  }

  /** Who was away for too long is a member no longer; nobody tells of that. */
  #reviewLater(running: Running): void {
    this.#options.world.after(REVIEW_MS, () => {
      if (this.#running !== running) return;
      running.node.control.view.heard(heardPeers(running.node), this.#wallTime());
      this.#control({ type: "review" });
      this.#reviewLater(running);
    });
  }

  #receive(from: Endpoint, bytes: Uint8Array): void {
    const { rx, node, paths } = this.#running!;
    const { ip, port } = parseEndpoint(from)!;
    const path = paths.origin(from);
    rx.begin(Math.floor(this.#options.world.now / 1_000));
    const verdict = rx.datagram(bytes, 0, bytes.length, { bytes: mapped(ip), at: 0, port });
    rx.end();
    if (verdict === VERDICT.deliver) {
      this.onPacket(bytes.slice(rx.packetAt, rx.packetAt + rx.packetBytes));
    }
    const event = eventOf(rx, verdict, path, bytes);
    if (event) this.#turn(node.handle(event, this.#options.world.now));
    this.#notified();
  }

  /** Workers raised flags: the control thread looks a moment later. */
  #notified(): void {
    const running = this.#running!;
    if ((!running.tx.notify && !running.rx.notify) || this.#isCollecting) return;
    running.tx.notify = running.rx.notify = false;
    this.#isCollecting = true;
    this.#options.world.after(0.1, () => {
      this.#isCollecting = false;
      if (this.#running === running && !this.#isAsleep) this.#collect();
    });
  }

  #collect(): void {
    const { node, bridge } = this.#running!;
    const { now } = this.#options.world;
    for (const event of bridge.collect(node.peers.keys(), now)) {
      this.#turn(node.handle({ type: "device", event }, now));
    }
    this.#arm();
  }

  #control(event: ControlEvent): void {
    if (!this.isRunning) return;
    this.#turn(this.node.handle({ type: "control", event }, this.#options.world.now));
  }

  #turn(effects: readonly NodeEffect[]): void {
    let touchesWorkers = false;
    for (const effect of effects) {
      if (this.#perform(effect)) touchesWorkers = true;
    }
    if (touchesWorkers) {
      this.#running!.tx.commands();
      this.#running!.rx.sweep();
      this.#notified();
    }
    this.#arm();
  }

  #perform(effect: NodeEffect): boolean {
    const { table, bridge, node, paths, filter, mesh, channel } = this.#running!;
    switch (effect.type) {
      case "install-keypair":
      case "promote-keypair":
      case "forget-keypair":
      case "send-keepalive":
        return bridge.perform(effect);
      case "use-endpoint": {
        const endpoint = paths.endpointOf(effect.endpoint, effect.peer);
        return bridge.perform({ ...effect, endpoint });
      }
      case "transmit":
        paths.transmit(effect.to, effect.peer, effect.bytes);
        return false;
      case "send-path-message":
      case "use-path":
      case "observed":
      case "open-sockets":
      case "close-sockets":
        return paths.perform(effect);
      case "session-down":
        return table.dropStaged(effect.peer);
      case "peer-added":
        table.addPeer(effect.peer.slot);
        return false;
      case "peer-removed":
        table.removePeer(effect.peer.slot);
        bridge.remove(effect.peer.slot);
        return true;
      case "routes":
        filter.publish(effect.routes);
        return false;
      case "names":
        this.zone.setNodes(effect.nodes, effect.coordinators);
        mesh.policy.refresh();
        return false;
      case "log-grown":
        mesh.keep(effect.entries);
        mesh.policy.refresh();
        return false;
      case "log-alert":
        this.alerts.push(effect.alert);
        return false;
      case "save":
        this.#disk.netmap = node.control.view.snapshot;
        this.#disk.pins = node.control.view.pins;
        return false;
      case "connect":
      case "send":
      case "close":
        channel.perform(effect);
        return false;
      default:
        return false;
    }
  }

  /** Where the coordinator sees it connect from. */
  #remote(): Endpoint {
    const [ip] = this.#ips;
    return formatEndpoint(this.#options.network.siteOf(ip!)?.apparentIp(ip!) ?? ip!, 443);
  }

  #tick(): void {
    if (!this.isRunning) return;
    this.#collect();
    this.#turn(this.node.handle({ type: "tick" }, this.#options.world.now));
  }

  #arm(): void {
    const running = this.#running;
    if (!running || this.#isAsleep) return;
    const deadline = Math.min(running.node.deadline, running.bridge.deadline);
    if (deadline === NEVER || this.#timerFor <= deadline) return;
    this.#timerFor = deadline;
    this.#options.world.at(deadline, () => {
      this.#timerFor = NEVER;
      if (this.#running !== null) this.#tick();
    });
  }
}
