/**
 * The packet filter's rules of a simulated node.
 * @module
 */
import { FilterRules } from "../../core/daemon/filter_rules.ts";
import type { PeerTable } from "../../core/dataplane/table.ts";
import { NO_FILTER_CONFIG } from "../../core/filter/written.ts";
import { type Ip, parsePrefix } from "../../core/ip.ts";
import type { FilterRule } from "../../core/filter/rules.ts";
import type { NodeMachine } from "../../core/node.ts";
import type { Route } from "../../core/route/lpm.ts";

/** Compiles and publishes rules beside routes, as the daemon does. */
export class HostFilter {
  readonly rules: FilterRules;
  readonly #table: PeerTable;
  readonly #node: NodeMachine;
  #routes: readonly Route[] = [];

  constructor(table: PeerTable, node: NodeMachine, addresses: readonly Ip[]) {
    this.#table = table;
    this.#node = node;
    this.rules = new FilterRules({
      own: addresses.map((ip) => parsePrefix(ip)!),
      offered: () => ({ destinations: [], own: [] }),
      config: NO_FILTER_CONFIG,
      // Nothing here expires.
      clock: () => 0,
      changed: () => this.publish(this.#routes),
      log: () => {},
    });
  }

  /** The policy's rules have changed; null denies everything. */
  setPolicy(rules: readonly FilterRule[] | null): void {
    this.rules.setCoordinatorRules(rules);
  }

  publish(routes: readonly Route[]): void {
    this.#routes = routes;
    const isFree = this.#table.setRoutesAndRules(
      routes,
      this.rules.compile(this.#node.peers.values()),
    );
    if (!isFree) throw new Error("the route table is being read");
  }
}
