/**
 * What follows from the mesh's log at this node: the packet filter's rules, who is a member still,
 * which kinds of path are used.
 * @module
 */
import { parsePrefix } from "../ip.ts";
import type { Millis } from "../machine.ts";
import type { NodeEvent, NodeMachine, NodePeer } from "../node.ts";
import type { PathPreference } from "../path/peer_paths.ts";
import { FilterRules, type FilterRulesOptions } from "./filter_rules.ts";
import { MeshPolicy } from "./mesh_policy.ts";
import { heardPeers } from "./heard.ts";
import type { DaemonOptions } from "./open_node.ts";
import { PathChoices } from "./path_choices.ts";

/** How often it is looked who has expired. */
const REVIEW_MS = 600_000;

export interface FollowerTargets {
  readonly node: NodeMachine;
  readonly clock: () => Millis;
  readonly emit: (event: NodeEvent) => void;
  /** The filter's rules are others. */
  readonly rulesChanged: () => void;
  /** What this node leads to. */
  readonly offered: FilterRulesOptions["offered"];
}

/** See the module's doc. */
export class MeshFollower {
  readonly filter: FilterRules;
  readonly policy: MeshPolicy;
  readonly #options: DaemonOptions;
  readonly #targets: FollowerTargets;
  readonly #choices: PathChoices;
  readonly #listeners: (() => void)[] = [];
  #reviewTimer: ReturnType<typeof setInterval> | undefined;

  constructor(options: DaemonOptions, targets: FollowerTargets) {
    this.#options = options;
    this.#targets = targets;
    const { membership: { reply }, logFile: { log: meshLog }, filter: config, log } = options;
    this.filter = new FilterRules({
      own: reply.addresses.map((ip) => parsePrefix(ip)!),
      offered: targets.offered,
      config,
      clock: targets.clock,
      changed: targets.rulesChanged,
      log,
    });
    this.#choices = new PathChoices({
      own: reply.id,
      state: () => meshLog.state,
      usual: options.preference,
      configured: options.peerPreferences,
    });
    this.policy = new MeshPolicy({
      own: reply.id,
      log: meshLog,
      view: targets.node.control.view,
      load: async () => (await import("./read_policy.ts")).readPolicy,
      publish: (rules, subjects, seq) => {
        this.filter.setResolver((subject, action) => subjects.resolve(subject, action).nodes);
        this.filter.setCoordinatorRules(rules, seq);
      },
      tell: log,
    });
  }

  /** What is needed before the first packet may pass. */
  prepare(): Promise<void> {
    return this.policy.prepare();
  }

  /** Begins to look for members that expire. */
  start(): void {
    this.#reviewTimer = setInterval(() => this.#review(), REVIEW_MS);
  }

  /** Calls back when the log has grown or a name in the mesh has changed. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** The log has grown, or a name in the mesh has changed. */
  changed(): void {
    this.policy.refresh();
    for (const peer of this.#targets.node.peers.values()) this.followChoice(peer);
    for (const listener of this.#listeners) listener();
  }

  /** Tells the paths of a peer what holds for it now. */
  followChoice(peer: NodePeer): void {
    const { order, exclude } = this.#choices.of(peer);
    const known = this.#targets.node.paths.pathsOf(peer.slot)?.preference;
    const isKnown = known?.order.join() === order.join() && known.exclude.join() === exclude.join();
    if (isKnown) return;
    const preference = { order, exclude };
    this.#targets.emit({ type: "path", event: { type: "prefer", peer: peer.slot, preference } });
  }

  /**
   * Which kinds of path to use for a peer from here on; null leaves it to admins and configuration.
   * @returns what holds then.
   */
  preferPaths(peer: NodePeer, preference: PathPreference | null): PathPreference {
    this.#choices.choose(peer, preference);
    this.followChoice(peer);
    return this.#choices.of(peer);
  }

  close(): void {
    clearInterval(this.#reviewTimer);
    this.filter.close();
  }

  /** Who was away for too long is a member no longer; nobody tells of that. */
  #review(): void {
    const { node, emit } = this.#targets;
    node.control.view.heard(heardPeers(node), this.#options.wallTime());
    emit({ type: "control", event: { type: "review" } });
  }
}
