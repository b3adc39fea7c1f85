/**
 * The only place where what the machine decided becomes I/O.
 * @module
 */
import { unreachable } from "../assert.ts";
import type { ControlEffect } from "../control/client.ts";
import type { DataPlaneBridge } from "../dataplane/bridge.ts";
import type { Zone } from "../dns/zone.ts";
import type { Drop } from "../drops.ts";
import { type Ip, parseEndpoint } from "../ip.ts";
import type { NodeEffect, NodeMachine, NodePeer } from "../node.ts";
import type { PathEffect } from "../path/agent.ts";
import { kindOf } from "../path/address.ts";
import type { LogFile } from "../platform/log_file.ts";
import type { Route } from "../route/lpm.ts";
import type { SyncAlert } from "../state/sync.ts";
import type { Carriers } from "./carriers.ts";
import type { ControlChannel } from "./control_channel.ts";
import type { DataPlane } from "./dataplane.ts";
import type { FilterRules } from "./filter_rules.ts";
import type { Log } from "./log.ts";
import type { PathShell } from "./path_shell.ts";
import type { Reachability } from "./reachability.ts";

/** Changes of rules that come so close together are one. */
const RULES_DELAY_MS = 20;
/** Route table or keypairs could not be written while a worker read them: try again. */
const ROUTE_RETRY_MS = 5;

/** What effects act on. */
export interface EffectTargets {
  readonly node: NodeMachine;
  readonly plane: DataPlane;
  readonly bridge: DataPlaneBridge;
  readonly paths: PathShell;
  readonly carriers: Carriers;
  readonly channel: ControlChannel;
  readonly reachability: Reachability;
  readonly zone: Zone;
  readonly filter: FilterRules;
  readonly log: Log;
  /** A peer came into use. */
  readonly added: (peer: NodePeer) => void;
  /** What is known of peers changed. */
  readonly changed: () => void;
  /** Netmap and pins changed. */
  readonly save: () => void;
  readonly logFile: LogFile;
  /** The mesh's log, or the names in it, changed. */
  readonly meshChanged: () => void;
}

/** Performs effects; a new one does not compile until it is handled here. */
export class Effects {
  readonly #targets: EffectTargets;
  readonly #drops = new Map<Drop, number>();
  #routes: readonly Route[] = [];
  #routeTimer: ReturnType<typeof setTimeout> | undefined;
  #rulesTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(targets: EffectTargets) {
    this.#targets = targets;
  }

  /** Messages that the control thread dropped, by reason. */
  get drops(): ReadonlyMap<Drop, number> {
    return this.#drops;
  }

  /** Performs one effect; true when workers must look at the table. */
  perform(effect: NodeEffect): boolean {
    const { plane, bridge, paths, zone } = this.#targets;
    switch (effect.type) {
      case "install-keypair":
      case "promote-keypair":
      case "forget-keypair":
      case "send-keepalive":
        return bridge.perform(effect);
      case "use-endpoint": {
        const endpoint = paths.endpointOf(effect.endpoint, effect.peer);
        return endpoint !== null && bridge.perform({ ...effect, endpoint });
      }
      case "transmit":
        paths.transmit(effect.to, effect.peer, effect.bytes);
        return false;
      case "send-path-message":
      case "use-path":
      case "observed":
      case "open-sockets":
      case "close-sockets":
      case "want-session":
      case "want-link":
        this.#logPath(effect);
        if (hasLostUdp(effect)) this.#targets.reachability.doubt();
        this.#targets.carriers.perform(effect);
        return paths.perform(effect);
      case "session-up":
      case "session-down":
        this.#logSession(effect);
        return effect.type === "session-down" && plane.table.dropStaged(effect.peer);
      case "drop":
        this.#drops.set(effect.reason, (this.#drops.get(effect.reason) ?? 0) + 1);
        return false;
      case "peer-added":
        plane.table.addPeer(effect.peer.slot);
        this.#targets.added(effect.peer);
        return false;
      case "peer-removed":
        plane.table.removePeer(effect.peer.slot);
        bridge.remove(effect.peer.slot);
        paths.removePeer(effect.peer.slot);
        return true;
      case "routes":
        this.#routes = effect.routes;
        this.#publish();
        return false;
      case "names":
        zone.setNodes(effect.nodes, effect.coordinators);
        this.#targets.meshChanged();
        return false;
      case "log-grown":
      case "log-alert":
      case "save":
        this.#keep(effect);
        return false;
      default:
        return this.#performControl(effect);
    }
  }

  /** Gives the workers the filter's rules as they are a moment later. */
  publishRules(): void {
    this.#rulesTimer ??= setTimeout(() => this.#publish(), RULES_DELAY_MS);
  }

  close(): void {
    clearTimeout(this.#routeTimer);
    clearTimeout(this.#rulesTimer);
  }

  #performControl(effect: ControlEffect): boolean {
    const { channel, log, node } = this.#targets;
    switch (effect.type) {
      case "connect":
      case "send":
      case "close":
        channel.perform(effect);
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
        if (effect.full) {
          this.#targets.reachability.setStun(stunHosts(channel, node), node.control.view.stunPorts);
        }
        this.#targets.changed();
        return false;
      case "called":
      case "log-open":
      case "log-message":
      case "log-closed":
        return false;
      default:
        return unreachable(effect);
    }
  }

  #logSession(effect: NodeEffect & { type: "session-up" | "session-down" }): void {
    const peer = this.#nameOf(effect.peer);
    if (effect.type === "session-up") {
      this.#targets.log("debug", "Session up", { peer, endpoint: effect.endpoint });
    } else this.#targets.log("debug", "Session down", { peer, reason: effect.reason });
  }

  /** What the mesh's state is kept by. */
  #keep(effect: NodeEffect & { type: "log-grown" | "log-alert" | "save" }): void {
    if (effect.type === "save") return this.#targets.save();
    if (effect.type === "log-alert") return this.#logAlert(effect.alert);
    this.#targets.logFile.append(effect.entries.map(({ signed }) => signed));
    this.#targets.meshChanged();
  }

  #logAlert(alert: SyncAlert): void {
    const { log } = this.#targets;
    switch (alert.type) {
      case "equivocation":
        return log("error", "Somebody told two stories of the mesh's log", { key: alert.signer });
      case "stale":
        return log("warn", "The coordinator does not take entries of the mesh's log", {
          theirs: alert.theirs,
        });
      case "refused":
        return log("error", "Refused what a coordinator says of the mesh's log", {
          code: alert.code,
          why: alert.why,
        });
    }
  }

  #logPath(effect: PathEffect): void {
    if (effect.type !== "use-path" || effect.why === "") return;
    const { path, why } = effect;
    this.#targets.log("info", "Path changed", { peer: this.#nameOf(effect.peer), path, why });
  }

  #nameOf(peer: number): string {
    return this.#targets.node.peers.get(peer)?.name ?? "unknown";
  }

  /** Routes and rules go together: both name peers by slots, which change hands. */
  #publish(): void {
    clearTimeout(this.#routeTimer);
    clearTimeout(this.#rulesTimer);
    this.#rulesTimer = undefined;
    const { node, plane, filter } = this.#targets;
    const rules = filter.compile(node.peers.values());
    if (plane.table.setRoutesAndRules(this.#routes, rules)) return;
    this.#routeTimer = setTimeout(() => this.#publish(), ROUTE_RETRY_MS);
  }
}

/** Whether a peer is reached by something that is only second best. */
function hasLostUdp(effect: PathEffect): boolean {
  return effect.type === "use-path" && effect.why !== "" && kindOf(effect.path) !== "udp";
}

/** Addresses of coordinators: where this node is connected to, and what else is known of them. */
function stunHosts(channel: ControlChannel, node: NodeMachine): Ip[] {
  const { view } = node.control;
  const known = view.coordinators.flatMap((id) => view.peers.get(id)?.endpoints ?? []);
  const ips = known.flatMap((endpoint) => parseEndpoint(endpoint)?.ip ?? []);
  return [...new Set([...(channel.remote === null ? [] : [channel.remote]), ...ips])];
}
