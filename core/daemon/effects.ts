/**
 * The only place where what the machine decided becomes I/O.
 * @module
 */
import { unreachable } from "../assert.ts";
import type { ControlEffect } from "../control/client.ts";
import type { DataPlaneBridge } from "../dataplane/bridge.ts";
import type { CompiledRules } from "../dataplane/table.ts";
import type { Zone } from "../dns/zone.ts";
import type { Drop } from "../drops.ts";
import { type Ip, parseEndpoint, type Prefix } from "../ip.ts";
import type { NodeEffect, NodeMachine, NodePeer } from "../node.ts";
import type { PathEffect } from "../path/agent.ts";
import { kindOf } from "../path/address.ts";
import type { Route } from "../route/lpm.ts";
import type { Carriers } from "./carriers.ts";
import type { ControlChannel } from "./control_channel.ts";
import type { DataPlane } from "./dataplane.ts";
import type { Exits } from "./exits.ts";
import { FilterRules } from "./filter_rules.ts";
import type { Log } from "./log.ts";
import type { PathShell } from "./path_shell.ts";
import type { Reachability } from "./reachability.ts";

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
  /** This node's mesh addresses. */
  readonly own: readonly Prefix[];
  /** What this node leads to. */
  readonly offered: () => Exits["offered"] | null;
  readonly log: Log;
  /** A peer came into use. */
  readonly added: (peer: NodePeer) => void;
  /** What is known of peers changed. */
  readonly changed: () => void;
  /** Netmap and pins changed. */
  readonly save: () => void;
}

/** Performs effects; a new one does not compile until it is handled here. */
export class Effects {
  readonly #targets: EffectTargets;
  readonly #drops = new Map<Drop, number>();
  readonly #rules = new FilterRules();
  #routes: readonly Route[] = [];
  #routeTimer: ReturnType<typeof setTimeout> | undefined;

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
        this.#setRoutes(effect.routes);
        return false;
      case "names":
        zone.setNodes(effect.nodes, effect.coordinators);
        return false;
      case "save":
        this.#targets.save();
        return false;
      default:
        return this.#performControl(effect);
    }
  }

  close(): void {
    clearTimeout(this.#routeTimer);
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

  #logPath(effect: PathEffect): void {
    if (effect.type !== "use-path" || effect.why === "") return;
    const { path, why } = effect;
    this.#targets.log("info", "Path changed", { peer: this.#nameOf(effect.peer), path, why });
  }

  #nameOf(peer: number): string {
    return this.#targets.node.peers.get(peer)?.name ?? "unknown";
  }

  /** What this node leads to changed: its rules are compiled anew. */
  offeredChanged(): void {
    this.#setRoutes(this.#routes);
  }

  #setRoutes(routes: readonly Route[]): void {
    const { node, own, offered } = this.#targets;
    this.#routes = routes;
    const { destinations = [], own: elsewhere = [] } = offered() ?? {};
    const rules = this.#rules.compile(node.peers.values(), [...own, ...elsewhere], destinations);
    this.#publish(routes, rules);
  }

  #publish(routes: readonly Route[], rules: CompiledRules): void {
    clearTimeout(this.#routeTimer);
    if (this.#targets.plane.table.setRoutesAndRules(routes, rules)) return;
    this.#routeTimer = setTimeout(() => this.#publish(routes, rules), ROUTE_RETRY_MS);
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
