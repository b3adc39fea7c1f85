import assert from "node:assert/strict";
import { compileFilter } from "../filter/compile.ts";
import { FILTER_DROPS, PASS } from "../filter/filter.ts";
import type { FilterRule } from "../filter/rules.ts";
import { parsePrefix } from "../ip.ts";
import { FilterGate } from "./filter_gate.ts";
import { beginRoutes, endRoutes, RX, SharedState, TX } from "./layout.ts";
import { PeerTable } from "./table.ts";

const OWN = "10.0.0.1";
const PEER = "10.0.0.2";
const ROUTES = [{ prefix: parsePrefix(PEER)!, value: 0 }];

function rule(id: string, more: Partial<FilterRule>): FilterRule {
  return {
    id,
    layer: "config",
    action: "allow",
    sources: null,
    protocol: "any",
    ports: null,
    destinations: null,
    origin: { where: "a test", comment: "" },
    ...more,
  };
}

/** A UDP packet of 28 bytes. */
function udp(from: string, to: string, sourcePort: number, port: number): Uint8Array {
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  bytes.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17]);
  bytes.set(from.split(".").map(Number), 12);
  bytes.set(to.split(".").map(Number), 16);
  view.setUint16(20, sourcePort);
  view.setUint16(22, port);
  view.setUint16(24, 8);
  return bytes;
}

/** Shared memory with one peer, and a worker of each direction. */
class Rig {
  readonly shared = new SharedState();
  readonly table = new PeerTable(this.shared);
  readonly tx = new FilterGate(this.shared, TX);
  readonly rx = new FilterGate(this.shared, RX);
  #generation = 0;

  constructor() {
    this.table.openFlows(1);
    this.table.addPeer(0);
  }

  use(...rules: FilterRule[]): void {
    const peers = new Map([[0, "0000000000000001"]]);
    const words = compileFilter(rules, { peers, own: [parsePrefix(OWN)!] }, ++this.#generation);
    assert.ok(this.table.setRoutesAndRules(ROUTES, { words, ids: rules.map(({ id }) => id) }));
  }

  send(sourcePort: number, port: number, now = 1): void {
    this.tx.begin(beginRoutes(this.shared, TX), now);
    this.tx.outbound(0, udp(OWN, PEER, sourcePort, port), 0, 28);
    endRoutes(this.shared, TX);
  }

  receive(sourcePort: number, port: number, now = 1): string {
    this.rx.begin(beginRoutes(this.shared, RX), now);
    const verdict = this.rx.inbound(0, udp(PEER, OWN, sourcePort, port), 0, 28);
    endRoutes(this.shared, RX);
    return verdict === PASS ? "pass" : FILTER_DROPS[verdict - 1]!;
  }

  hits(id: string): number | undefined {
    return this.table.ruleHits().get(id);
  }
}

Deno.test("FilterGate lets everything pass before there are rules", () => {
  const rig = new Rig();
  assert.ok(rig.table.setRoutes(ROUTES));
  assert.equal(rig.receive(1000, 53), "pass");
});

Deno.test("FilterGate: rules of the newest publication hold at the next batch, for old flows too", () => {
  const rig = new Rig();
  rig.use(rule("dns", { protocol: "udp", ports: [{ first: 53, last: 53 }] }));
  assert.equal(rig.receive(1000, 53), "pass");
  assert.equal(rig.receive(1000, 54), "no-rule");
  rig.use(rule("dns", { protocol: "udp", action: "deny", ports: [{ first: 53, last: 53 }] }));
  assert.equal(rig.receive(1000, 53), "denied");
  rig.use(rule("all", {}));
  assert.equal(rig.receive(1000, 53), "pass");
  // Routes alone change: the rules stay.
  assert.ok(rig.table.setRoutes(ROUTES));
  assert.equal(rig.receive(1000, 54), "pass");
});

Deno.test("FilterGate: what the tx worker notes, answers of the rx worker may come to", () => {
  const rig = new Rig();
  rig.use();
  assert.equal(rig.receive(53, 4000), "no-rule");
  rig.send(4000, 53);
  assert.equal(rig.receive(53, 4000), "pass");
  assert.equal(rig.receive(53, 4001), "no-rule");
  rig.table.removePeer(0);
  rig.table.addPeer(0);
  assert.equal(rig.receive(53, 4000), "no-rule", "the slot's next peer has no part in it");
});

Deno.test("ruleHits() counts by the rules' ids, over publications", () => {
  const rig = new Rig();
  const dns = rule("dns", { protocol: "udp", ports: [{ first: 53, last: 53 }] });
  const web = rule("web", { protocol: "udp", ports: [{ first: 80, last: 80 }] });
  rig.use(dns);
  for (let i = 0; i < 3; i++) rig.receive(1000 + i, 53);
  for (let i = 0; i < 5; i++) {
    rig.use(web, dns);
    rig.receive(2000 + i, 53);
    rig.receive(2000 + i, 80);
  }
  assert.deepEqual([rig.hits("dns"), rig.hits("web")], [8, 5]);
  rig.use(web);
  rig.use(web);
  assert.equal(rig.hits("dns"), 8, "rules that are gone are remembered");
});
