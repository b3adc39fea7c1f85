/**
 * Which rules the packet filter has, compiled for the peers that there are.
 * @module
 */
import type { CompiledRules } from "../dataplane/table.ts";
import { offeredRules } from "../exit/offers.ts";
import { compileFilter } from "../filter/compile.ts";
import type { FilterRule } from "../filter/rules.ts";
import { parsePrefix, type Prefix } from "../ip.ts";
import type { NodePeer } from "../node_peer.ts";

/** Until the mesh has a policy its members may reach everything on each other. */
const NO_POLICY: FilterRule = {
  id: "no-policy",
  layer: "coordinator",
  action: "allow",
  sources: null,
  protocol: "any",
  ports: null,
  destinations: null,
  origin: { where: "built in", comment: "the mesh has no policy" },
};

/** And may go through each other wherever that is offered. */
const NO_POLICY_WAYS: FilterRule = {
  ...NO_POLICY,
  id: "no-policy-ways",
  destinations: ["0.0.0.0/0", "::/0"].map((text) => parsePrefix(text)!),
};

/** See the module's doc. */
export class FilterRules {
  #generation = 0;

  /**
   * The rules as workers read them.
   * @param own This node's addresses.
   * @param offered What this node leads to; rules about anything else behind it do not count.
   */
  compile(
    nodes: Iterable<NodePeer>,
    own: readonly Prefix[],
    offered: readonly Prefix[] = [],
  ): CompiledRules {
    const rules = offeredRules([NO_POLICY, NO_POLICY_WAYS], offered);
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
