/**
 * Which rules the packet filter has, compiled for the peers that there are.
 * @module
 */
import type { CompiledRules } from "../dataplane/table.ts";
import { compileFilter } from "../filter/compile.ts";
import type { FilterRule } from "../filter/rules.ts";
import type { Prefix } from "../ip.ts";
import type { NodePeer } from "../node_peer.ts";

/** See the module's doc. */
export class FilterRules {
  #generation = 0;
  #policy: readonly FilterRule[] = [];

  setCoordinatorRules(rules: readonly FilterRule[] | null): void {
    this.#policy = rules ?? [];
  }

  /**
   * The rules as workers read them.
   * @param own This node's addresses.
   */
  compile(nodes: Iterable<NodePeer>, own: readonly Prefix[]): CompiledRules {
    const rules = this.#policy;
    // A plain WireGuard peer has a name alone, which no id looks like.
    const peers = new Map(
      [...nodes].map(({ slot, id, name }) => [slot, id ?? `wireguard:${name}`]),
    );
    // 0 says that there are none.
    this.#generation = (this.#generation % 0x7fffffff) + 1;
    const words = compileFilter(rules, { peers, own }, this.#generation);
    return { words, ids: rules.map(({ id }) => id) };
  }
}
