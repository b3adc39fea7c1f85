/**
 * The packet filter's rules of a simulated node.
 * @module
 */
import { FilterRules } from "../../core/daemon/filter_rules.ts";
import type { PeerTable } from "../../core/dataplane/table.ts";
import { type Ip, parsePrefix } from "../../core/ip.ts";
import type { FilterRule } from "../../core/filter/rules.ts";
import type { NodeMachine } from "../../core/node.ts";
import type { Route } from "../../core/route/lpm.ts";

/** Compiles and publishes rules beside routes, as the daemon does. */
export class HostFilter {
  readonly #table: PeerTable;
  readonly #node: NodeMachine;
  readonly #addresses: readonly Ip[];
  readonly #rules = new FilterRules();
  #routes: readonly Route[] | null = null;

  constructor(table: PeerTable, node: NodeMachine, addresses: readonly Ip[]) {
    this.#table = table;
    this.#node = node;
    this.#addresses = addresses;
  }

  /** The policy's rules have changed; null denies everything. */
  setPolicy(rules: readonly FilterRule[] | null): void {
    this.#rules.setCoordinatorRules(rules);
    if (this.#routes) this.publish(this.#routes);
  }

  publish(routes: readonly Route[]): void {
    this.#routes = routes;
    const own = this.#addresses.map((ip) => parsePrefix(ip)!);
    const rules = this.#rules.compile(this.#node.peers.values(), own);
    const isFree = this.#table.setRoutesAndRules(routes, rules);
    if (!isFree) throw new Error("the route table is being read");
  }
}
