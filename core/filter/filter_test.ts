import assert from "node:assert/strict";
import { parseIp, parsePrefix } from "../ip.ts";
import { buildRouteTable, routeTableWords } from "../route/lpm.ts";
import { packetBytes, type TestPacket } from "./_packets.ts";
import { compileFilter } from "./compile.ts";
import { FILTER_DROPS, PacketFilter } from "./filter.ts";
import { FlowTable, flowTableWords, initFlowTable } from "./flow_table.ts";
import { RuleTable } from "./rule_table.ts";
import type { FilterRule } from "./rules.ts";

const [NODE, ALICE, BOB] = ["10.0.0.100", "10.0.0.1", "10.0.0.2"];
const [ALICE_SLOT, BOB_SLOT] = [1, 2];
const FLOWS = 1024;
const [SYN, ACK, SYN_ACK, FIN, RST] = [2, 16, 18, 17, 4];

const ids = new Map([ALICE_SLOT, BOB_SLOT].map((slot) => [slot, `${slot}`.padStart(16, "0")]));
const ALLOW_SSH: Partial<FilterRule> = { protocol: "tcp", ports: [{ first: 22, last: 22 }] };

/** A node that Alice and Bob talk to. `now` goes on by itself, so that no packet is of a train. */
class Node {
  readonly flows: FlowTable;
  readonly hits = new Float64Array(8);
  readonly #rx: PacketFilter;
  readonly #tx: PacketFilter;
  #generation = 0;
  now = 100;

  constructor(...rules: Partial<FilterRule>[]) {
    const words = new Int32Array(flowTableWords(FLOWS));
    initFlowTable(words, FLOWS, 3);
    this.flows = new FlowTable(words);
    const owners = [[NODE, 0], [ALICE, ALICE_SLOT], [BOB, BOB_SLOT], [
      "fd00::1",
      ALICE_SLOT,
    ]] as const;
    const routes = new Uint32Array(routeTableWords(owners.length));
    buildRouteTable(routes, owners.map(([ip, value]) => ({ prefix: parsePrefix(ip)!, value })));
    const table = this.#compile(rules);
    this.#rx = new PacketFilter(new FlowTable(words), table, this.hits, routes);
    this.#tx = new PacketFilter(new FlowTable(words), table, this.hits, routes);
  }

  change(...rules: Partial<FilterRule>[]): void {
    this.#rx.useRules(this.#compile(rules), this.hits);
  }

  #compile(rules: Partial<FilterRule>[]): RuleTable {
    const full = rules.map((rule, i): FilterRule => ({
      id: `${i}`,
      layer: "config",
      action: "allow",
      sources: null,
      protocol: "any",
      ports: null,
      destinations: null,
      origin: { where: "", comment: "" },
      ...rule,
    }));
    const own = [parsePrefix(NODE)!, parsePrefix("fd00::100")!];
    return new RuleTable(compileFilter(full, { peers: ids, own }, ++this.#generation));
  }

  /** Receives a packet; says why it was dropped, or "pass". */
  receive(packet: TestPacket, peer = ALICE_SLOT): string {
    const bytes = packetBytes(packet);
    const verdict = this.#rx.inbound(peer, bytes, 0, bytes.length, this.now++);
    return verdict === 0 ? "pass" : FILTER_DROPS[verdict - 1]!;
  }

  get rule(): number {
    return this.#rx.rule;
  }

  send(packet: TestPacket, peer = ALICE_SLOT): void {
    const bytes = packetBytes(packet);
    this.#tx.outbound(peer, bytes, 0, bytes.length, this.now++);
  }
}

function packet(change: Partial<TestPacket> & { from?: string; to?: string }): TestPacket {
  const { from = ALICE, to = NODE, ...rest } = change;
  return {
    source: parseIp(from)!,
    destination: parseIp(to)!,
    protocol: 6,
    sourcePort: 40_000,
    destinationPort: 22,
    flags: ACK,
    icmp: null,
    quote: null,
    fragment: null,
    headers: [],
    ...rest,
  };
}

function tcp(flags: number): TestPacket {
  return packet({ flags });
}

/** The packet as it goes the other way. */
function back(there: TestPacket, flags = there.flags): TestPacket {
  return {
    ...there,
    source: there.destination,
    destination: there.source,
    sourcePort: there.destinationPort,
    destinationPort: there.sourcePort,
    flags,
  };
}

const DNS = packet({ from: NODE, to: ALICE, protocol: 17, sourcePort: 5353, destinationPort: 53 });

Deno.test("PacketFilter lets nobody begin without a rule, and names the one that decided", () => {
  const node = new Node(ALLOW_SSH, { action: "deny", sources: new Set([ids.get(BOB_SLOT)!]) });
  assert.equal(node.receive(tcp(SYN)), "pass");
  assert.equal(node.rule, 0);
  assert.equal(node.receive(packet({ flags: SYN, destinationPort: 23 })), "no-rule");
  assert.equal(node.rule, -1);
  assert.equal(node.receive(packet({ from: BOB, flags: SYN }), BOB_SLOT), "denied");
  assert.equal(node.rule, 1);
  assert.deepEqual([...node.hits.subarray(0, 3)], [1, 1, 0]);
});

Deno.test("PacketFilter lets answers in to what this node sends, and nothing else", () => {
  const node = new Node();
  assert.equal(node.receive(back(DNS)), "no-rule");
  node.send(DNS);
  assert.equal(node.receive(back(DNS)), "pass");
  assert.equal(node.rule, -1);
  assert.equal(node.receive(back({ ...DNS, sourcePort: 5354 })), "no-rule");
  assert.equal(node.receive({ ...back(DNS), source: parseIp(BOB)! }, BOB_SLOT), "no-rule");
  node.now += 301;
  assert.equal(node.receive(back(DNS)), "no-rule");
});

// Nebula 2026: a packet found its flow before its source was checked.
Deno.test("PacketFilter checks the source before it asks or writes the flow table", () => {
  const node = new Node({});
  node.send(DNS);
  const state = () => node.flows.count(node.now);
  assert.equal(state(), 1);
  // Bob says that he is Alice, in a flow that Alice has, and in a new one that rules would allow.
  assert.equal(node.receive(back(DNS), BOB_SLOT), "source-mismatch");
  assert.equal(node.receive(tcp(SYN), BOB_SLOT), "source-mismatch");
  assert.equal(node.receive(packet({ from: "10.9.9.9" })), "source-mismatch");
  const part = { id: 1, from: 0, length: 24, isMore: true };
  assert.equal(node.receive(packet({ flags: SYN, fragment: part }), BOB_SLOT), "source-mismatch");
  assert.equal(state(), 1);
  // Nor did it keep the flow alive: its time runs from what this node sent.
  node.now = 100 + 300;
  assert.equal(node.receive(back(DNS), BOB_SLOT), "source-mismatch");
  node.now = 100 + 301;
  assert.equal(state(), 0);
});

Deno.test("PacketFilter checks the source of every packet when routes may have changed", () => {
  const node = new Node({});
  const bytes = packetBytes(tcp(ACK));
  const words = new Int32Array(flowTableWords(8));
  initFlowTable(words, 8, 1);
  const routes = new Uint32Array(routeTableWords(1));
  const table = new RuleTable(compileFilter([], { peers: ids, own: [] }, 1));
  const filter = new PacketFilter(new FlowTable(words), table, node.hits, routes);
  buildRouteTable(routes, [{ prefix: parsePrefix(ALICE)!, value: ALICE_SLOT }]);
  const sent = packetBytes(back(tcp(ACK)));
  for (let i = 0; i < 3; i++) {
    filter.outbound(ALICE_SLOT, sent, 0, sent.length, i);
    assert.equal(filter.inbound(ALICE_SLOT, bytes, 0, bytes.length, i), 0);
  }
  buildRouteTable(routes, [{ prefix: parsePrefix(ALICE)!, value: BOB_SLOT }]);
  filter.useRoutes(routes);
  const verdict = filter.inbound(ALICE_SLOT, bytes, 0, bytes.length, 2);
  assert.equal(FILTER_DROPS[verdict - 1], "source-mismatch");
});

Deno.test("PacketFilter takes away what a peer began when the rules do, whatever goes out", () => {
  for (const next of [[], [{ ...ALLOW_SSH, action: "deny" as const }]]) {
    const node = new Node(ALLOW_SSH);
    node.receive(tcp(SYN));
    node.send(back(tcp(SYN), SYN_ACK));
    assert.equal(node.receive(tcp(ACK)), "pass");
    node.change(...next);
    const drop = next.length === 0 ? "no-rule" : "denied";
    assert.equal(node.receive(tcp(ACK)), drop);
    // The server goes on sending, for longer than closed flows are remembered.
    for (let i = 0; i < 40; i++) {
      node.now += 200;
      node.send(back(tcp(ACK)));
      assert.equal(node.receive(tcp(ACK)), drop);
    }
    node.change(ALLOW_SSH);
    assert.equal(node.receive(tcp(ACK)), "pass");
    assert.equal(node.rule, 0);
  }
});

Deno.test("PacketFilter keeps what this node began, unless its peer is cut off", () => {
  const alice = new Set([ids.get(ALICE_SLOT)!]);
  const node = new Node();
  node.send(DNS);
  assert.equal(node.receive(back(DNS)), "pass");
  node.change({ action: "deny", ports: [{ first: 5353, last: 5353 }] }, { action: "deny" });
  assert.equal(node.receive(back(DNS)), "pass");
  node.change({ action: "deny", sources: alice });
  assert.equal(node.receive(back(DNS)), "denied");
  assert.equal(node.rule, 0);
  // Also what it begins now.
  const other = { ...DNS, sourcePort: 7777 };
  node.send(other);
  assert.equal(node.receive(back(other)), "denied");
  node.change();
  assert.equal(node.receive(back(DNS)), "pass");
});

Deno.test("PacketFilter lets no SYN in as an answer", () => {
  const node = new Node();
  const out = back(tcp(SYN));
  node.send(out);
  assert.equal(node.receive(tcp(SYN)), "pass", "both sides open at once (RFC 9293 section 3.5)");
  assert.equal(node.receive(tcp(SYN)), "no-rule");
  assert.equal(node.receive(tcp(ACK)), "pass");
  assert.equal(node.receive(tcp(SYN_ACK)), "pass");
});

Deno.test("PacketFilter begins no flow with what answers", () => {
  const icmp = (type: number) =>
    packet({ from: NODE, to: ALICE, protocol: 1, icmp: { type, id: 5 } });
  const node = new Node();
  for (const answer of [back(tcp(SYN), SYN_ACK), back(tcp(SYN), RST), icmp(0), icmp(3)]) {
    node.send(answer);
    assert.equal(node.flows.count(node.now), 0);
  }
  assert.equal(node.receive({ ...back(icmp(0)), icmp: { type: 8, id: 5 } }), "no-rule");
  node.send(icmp(8));
  assert.equal(node.receive({ ...back(icmp(8)), icmp: { type: 0, id: 5 } }), "pass");
  assert.equal(node.receive({ ...back(icmp(8)), icmp: { type: 0, id: 6 } }), "no-rule");
  assert.equal(node.receive({ ...back(icmp(8)), icmp: { type: 8, id: 5 } }), "no-rule");
});

Deno.test("PacketFilter joins connections that it has forgotten, and ages closed ones soon", () => {
  const node = new Node();
  const out = back(tcp(ACK));
  node.send(out);
  assert.equal(node.receive(tcp(ACK)), "pass");
  node.send(out);
  node.now += 7000;
  assert.equal(node.receive(tcp(ACK)), "pass");
  node.send(back(tcp(FIN)));
  assert.equal(node.receive(tcp(FIN)), "pass");
  node.now += 230;
  assert.equal(node.receive(tcp(ACK)), "pass");
  node.now += 241;
  assert.equal(node.receive(tcp(ACK)), "no-rule");
});

Deno.test("PacketFilter takes a new SYN of either side on old ports for what it is", () => {
  const node = new Node(ALLOW_SSH);
  const connect = back(tcp(SYN));
  // This node's connection is over; Alice begins one on the same ports, and rules take it away.
  node.send(connect);
  node.receive(tcp(SYN_ACK));
  node.receive(tcp(RST));
  assert.equal(node.receive(tcp(SYN)), "pass");
  assert.equal(node.rule, 0);
  assert.equal(node.receive(tcp(ACK)), "pass");
  node.change();
  assert.equal(node.receive(tcp(ACK)), "no-rule");
  // Now this node begins again.
  node.send(connect);
  assert.equal(node.receive(tcp(SYN_ACK)), "pass");
  assert.equal(node.rule, -1);
});

Deno.test("PacketFilter lets ICMP errors in about what this node sent, and only then", () => {
  const six = packet({
    from: "fd00::100",
    to: "fd00::1",
    protocol: 17,
    sourcePort: 5353,
    destinationPort: 53,
  });
  for (const [sent, protocol, types] of [[DNS, 1, [3, 11, 12]], [six, 58, [1, 2, 3, 4]]] as const) {
    for (const type of types) {
      const about = (quoted: TestPacket, change: Partial<TestPacket> = {}) => ({
        ...back(sent),
        protocol,
        icmp: { type, id: 0 },
        quote: packetBytes(quoted),
        ...change,
      });
      // A rule that allows ICMP does not allow lies about packets that nobody sent.
      const node = new Node({ protocol: "icmp" });
      assert.equal(node.receive(about(sent)), "unrelated-error");
      node.send(sent);
      assert.equal(node.receive(about(sent)), "pass");
      assert.equal(node.receive(about(back(sent))), "unrelated-error", "of the other direction");
      assert.equal(node.receive(about({ ...sent, sourcePort: 1 })), "unrelated-error");
      const elsewhere = protocol === 1 ? "10.0.0.101" : "fd00::101";
      assert.equal(
        node.receive(about(sent, { destination: parseIp(elsewhere)! })),
        "unrelated-error",
      );
      assert.equal(
        node.receive(about(sent, { quote: packetBytes(sent).subarray(0, 27) })),
        "unrelated-error",
      );
      node.change({ action: "deny", sources: new Set(ids.values()) });
      assert.equal(node.receive(about(sent)), "denied");
    }
  }
});

Deno.test("PacketFilter lets no error in about a flow in which this node sent nothing", () => {
  const node = new Node(ALLOW_SSH);
  node.receive(tcp(SYN));
  const error = packet({
    protocol: 1,
    icmp: { type: 3, id: 0 },
    quote: packetBytes(back(tcp(SYN_ACK))),
  });
  assert.equal(node.receive(error), "unrelated-error");
  node.send(back(tcp(SYN_ACK)));
  assert.equal(node.receive(error), "pass");
});

Deno.test("PacketFilter lets fragments follow their first one, not overlap it", () => {
  const part = (from: number, id = 1) =>
    packet({ flags: SYN, fragment: { id, from, length: from === 0 ? 40 : 16, isMore: true } });
  const node = new Node(ALLOW_SSH);
  assert.equal(node.receive(part(40)), "bad-fragment", "before its first one");
  assert.equal(node.receive(part(0)), "pass");
  assert.equal(node.receive(part(40)), "pass");
  assert.equal(node.rule, 0);
  assert.equal(node.receive(part(56)), "pass");
  assert.equal(node.receive(part(32)), "bad-fragment", "over its first one");
  assert.equal(node.receive(part(40, 2)), "bad-fragment", "of another packet");
  // A shorter first one does not bare what a longer one covered.
  const shorter = packet({ flags: SYN, fragment: { id: 1, from: 0, length: 24, isMore: true } });
  assert.equal(node.receive(shorter), "pass");
  assert.equal(node.receive(part(32)), "bad-fragment");
  node.now += 31;
  assert.equal(node.receive(part(40)), "bad-fragment", "too late");
  assert.equal(node.receive(part(0)), "pass");
  node.change();
  assert.equal(node.receive(part(40)), "bad-fragment", "under other rules");
  assert.equal(node.receive(part(0)), "no-rule");
  assert.equal(
    node.receive(packet({ fragment: { id: 9, from: 8, length: 16, isMore: true } })),
    "bad-fragment",
  );
});

Deno.test("PacketFilter counts every packet of a train", () => {
  const node = new Node({ protocol: "udp" });
  const bytes = packetBytes(packet({ protocol: 17 }));
  const words = new Int32Array(flowTableWords(8));
  initFlowTable(words, 8, 1);
  const routes = new Uint32Array(routeTableWords(1));
  buildRouteTable(routes, [{ prefix: parsePrefix(ALICE)!, value: ALICE_SLOT }]);
  const any: FilterRule = {
    ...{ id: "", layer: "config", action: "allow", sources: null, protocol: "udp", ports: null },
    ...{ destinations: null, origin: { where: "", comment: "" } },
  };
  const subjects = { peers: ids, own: [parsePrefix(NODE)!] };
  const table = new RuleTable(compileFilter([any], subjects, 1));
  const filter = new PacketFilter(new FlowTable(words), table, node.hits, routes);
  for (let i = 0; i < 10; i++) {
    assert.equal(filter.inbound(ALICE_SLOT, bytes, 0, bytes.length, 7), 0);
  }
  assert.equal(node.hits[0], 10);
  assert.equal(filter.rule, 0);
  // Neither another peer nor other rules take part in it.
  assert.notEqual(filter.inbound(BOB_SLOT, bytes, 0, bytes.length, 7), 0);
  filter.useRules(new RuleTable(compileFilter([], subjects, 2)), node.hits);
  assert.notEqual(filter.inbound(ALICE_SLOT, bytes, 0, bytes.length, 7), 0);
});
