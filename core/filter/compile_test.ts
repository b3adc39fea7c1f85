import assert from "node:assert/strict";
import { parseIp, parsePrefix } from "../ip.ts";
import { compileFilter } from "./compile.ts";
import { KEY, KEY_WORDS } from "./key.ts";
import { PortCuts } from "./port_cuts.ts";
import { RuleOrder } from "./rule_sets.ts";
import { RuleTable } from "./rule_table.ts";
import type { FilterRule } from "./rules.ts";
import { Words } from "./words.ts";

const PEERS = new Map([0, 1, 2].map((slot) => [slot, `${slot}`.padStart(16, "0")]));
const SUBJECTS = { peers: PEERS, own: [parsePrefix("10.0.0.100")!, parsePrefix("fd00::100")!] };
const [TCP, UDP, ICMP, ICMPV6, GRE] = [6, 17, 1, 58, 47];

function rule(change: Partial<FilterRule>): FilterRule {
  return {
    id: "",
    layer: "config",
    action: "allow",
    sources: null,
    protocol: "any",
    ports: null,
    destinations: null,
    origin: { where: "", comment: "" },
    ...change,
  };
}

function compile(...rules: Partial<FilterRule>[]): RuleTable {
  return new RuleTable(compileFilter(rules.map(rule), SUBJECTS, 1));
}

function ask(
  table: RuleTable,
  peer: number,
  protocol: number,
  port: number,
  to = "10.0.0.100",
): number {
  const key = new Int32Array(KEY_WORDS);
  const bytes = parseIp(to)!;
  const view = new DataView(bytes.buffer);
  key[KEY.family] = bytes.length === 4 ? 4 : 6;
  key[KEY.protocol] = protocol;
  for (let at = 0; at < bytes.length; at += 4) key[KEY.destination + at / 4] = view.getInt32(at);
  return table.decide(peer, key, KEY.destination, port);
}

Deno.test("compileFilter() denies without a match, and deny beats allow in any order", () => {
  assert.equal(ask(compile(), 0, TCP, 22), 0);
  const allow = { protocol: "tcp", ports: [{ first: 20, last: 30 }] } as const;
  const deny = { action: "deny", protocol: "tcp", ports: [{ first: 22, last: 22 }] } as const;
  for (
    const [table, allows, denies] of [[compile(allow, deny), 1, -2], [
      compile(deny, allow),
      2,
      -1,
    ]] as const
  ) {
    assert.deepEqual([19, 20, 21, 22, 23, 30, 31].map((port) => ask(table, 0, TCP, port)), [
      ...[0, allows, allows, denies, allows, allows, 0],
    ]);
    assert.equal(ask(table, 0, UDP, 21), 0);
  }
});

Deno.test("compileFilter() names the first of several rules that decide the same", () => {
  const table = compile(
    { ports: [{ first: 0, last: 100 }] },
    { protocol: "tcp" },
    { action: "deny", ports: [{ first: 50, last: 60 }] },
    { action: "deny", ports: [{ first: 55, last: 70 }] },
  );
  assert.deepEqual([0, 49, 50, 60, 61, 70, 71, 101].map((port) => ask(table, 0, TCP, port)), [
    ...[1, 1, -3, -3, -4, -4, 1, 2],
  ]);
});

Deno.test("compileFilter() applies rules with ports to TCP and UDP alone", () => {
  const table = compile({ action: "deny", ports: [{ first: 0, last: 65_535 }] }, {});
  assert.equal(ask(table, 0, TCP, 65_535), -1);
  assert.equal(ask(table, 0, UDP, 0), -1);
  for (const protocol of [ICMP, GRE]) assert.equal(ask(table, 0, protocol, 0), 2);
});

Deno.test("compileFilter() takes icmp for the one of the packet's family", () => {
  const table = compile({ protocol: "icmp" });
  assert.equal(ask(table, 0, ICMP, 0), 1);
  assert.equal(ask(table, 0, ICMPV6, 0), 0);
  assert.equal(ask(table, 0, ICMPV6, 0, "fd00::100"), 1);
  assert.equal(ask(table, 0, ICMP, 0, "fd00::100"), 0);
});

Deno.test("compileFilter() tells echo requests, and answers to them, from other ICMP", () => {
  const answers = (type: number, to: number, isV6: boolean, ...rules: Partial<FilterRule>[]) => {
    const key = new Int32Array(KEY_WORDS);
    key[KEY.family] = isV6 ? 6 : 4;
    key[KEY.protocol] = isV6 ? ICMPV6 : ICMP;
    key[KEY.icmpType] = type;
    const view = new DataView(parseIp(isV6 ? "fd00::100" : "10.0.0.100")!.buffer);
    for (let i = 0; i < (isV6 ? 4 : 1); i++) key[to + i] = view.getInt32(4 * i);
    return compile(...rules).decide(0, key, to, 0);
  };
  const ping = { protocol: "icmp", icmpTypes: "echo-request" } as const;
  const { source, destination } = KEY;
  assert.deepEqual([8, 0, 13, 3].map((type) => answers(type, destination, false, ping)), [
    1,
    0,
    0,
    0,
  ]);
  assert.deepEqual([0, 8].map((type) => answers(type, source, false, ping)), [1, 0]);
  assert.deepEqual([128, 129, 8].map((type) => answers(type, destination, true, ping)), [1, 0, 0]);
  assert.deepEqual([129, 128].map((type) => answers(type, source, true, ping)), [1, 0]);
  const noPing = [{}, { ...ping, action: "deny" }] as const;
  assert.deepEqual([8, 0].map((type) => answers(type, destination, false, ...noPing)), [-2, 1]);
  assert.equal(ask(compile(ping), 0, TCP, 0), 0);
});

Deno.test("compileFilter() knows members by their slots and nobody else", () => {
  const table = compile({ sources: new Set([PEERS.get(1)!]) }, { protocol: "udp" });
  assert.deepEqual([0, 1, 2].map((peer) => ask(table, peer, TCP, 1)), [0, 1, 0]);
  assert.deepEqual([0, 1, 2].map((peer) => ask(table, peer, UDP, 1)), [2, 1, 2]);
  for (const stranger of [3, 4095, -1]) assert.equal(ask(table, stranger, UDP, 1), 0);
});

Deno.test("compileFilter() keeps networks behind this node apart from this node itself", () => {
  const table = compile(
    { destinations: [parsePrefix("0.0.0.0/0")!] },
    { action: "deny", destinations: [parsePrefix("192.168.0.0/16")!, parsePrefix("fd00::/8")!] },
    { protocol: "tcp" },
    { destinations: [parsePrefix("10.0.0.100")!] },
  );
  assert.equal(ask(table, 0, TCP, 1), 3);
  assert.equal(ask(table, 0, UDP, 1), 0, "networks' rules are not about this node");
  assert.equal(ask(table, 0, TCP, 1, "8.8.8.8"), 1);
  assert.equal(ask(table, 0, TCP, 1, "192.168.7.1"), -2);
  assert.equal(ask(table, 0, TCP, 1, "fd00::7"), -2);
  assert.equal(ask(table, 0, TCP, 1, "2001:db8::1"), 0);
});

Deno.test("RuleTable.decideAnswer() denies only what a rule takes from a peer altogether", () => {
  const bob = new Set([PEERS.get(1)!]);
  const key = new Int32Array(KEY_WORDS);
  key[KEY.family] = 4;
  key[KEY.destination] = 0x0a000064;
  const answers = (change: Partial<FilterRule>) => {
    const table = compile({}, { action: "deny", sources: bob, ...change });
    return [0, 1].map((peer) => table.decideAnswer(peer, key, KEY.destination));
  };
  assert.deepEqual(answers({}), [0, -2]);
  assert.deepEqual(answers({ sources: null }), [0, 0]);
  assert.deepEqual(answers({ protocol: "tcp" }), [0, 0]);
  assert.deepEqual(answers({ ports: [{ first: 0, last: 65_535 }] }), [0, 0]);
  assert.deepEqual(answers({ destinations: [parsePrefix("0.0.0.0/0")!] }), [0, 0]);
});

Deno.test("compileFilter() stays small when many peers and rules are alike", () => {
  const peers = new Map(
    Array.from({ length: 4096 }, (_, slot) => [slot, `${slot}`.padStart(16, "0")]),
  );
  const half = new Set([...peers.values()].slice(0, 2048));
  const rules = Array.from(
    { length: 1000 },
    (_, i) =>
      rule({
        sources: i % 2 ? half : null,
        protocol: "tcp",
        ports: [{ first: 2 * i, last: 2 * i }],
      }),
  );
  const words = compileFilter(rules, { peers, own: SUBJECTS.own }, 1);
  assert.ok(words.length < 20_000, `${words.length} words`);
  const table = new RuleTable(words);
  for (const i of [0, 1, 500, 999]) {
    assert.equal(ask(table, 5, TCP, 2 * i), i + 1);
    assert.equal(ask(table, 4000, TCP, 2 * i), i % 2 ? 0 : i + 1);
    assert.equal(ask(table, 5, TCP, 2 * i + 1), 0);
  }
});

/** Intervals of rules `[first, last]`, of which those of `chosen` are about it. */
function cut(ranges: readonly [number, number][], chosen: readonly number[]): number[][] {
  const rules = ranges.map(([first, last]) => rule({ ports: [{ first, last }] }));
  const order = new RuleOrder(rules);
  const set = order.empty();
  for (const index of chosen) order.add(set, index);
  const words = new Words();
  const cuts = new PortCuts(rules.map(({ ports }) => ports));
  cuts.append(words, set, order.where(rules, () => true), Int32Array.from(ranges, (_, i) => i + 1));
  const [count, ...rest] = words.all;
  assert.equal(rest.length, 2 * count!);
  return rest.slice(0, count).map((first, i) => [first, rest[count! + i]!]);
}

Deno.test("PortCuts lets the first rule that has a port decide, and joins neighbours", () => {
  assert.deepEqual(cut([], []), [[0, 0]]);
  assert.deepEqual(cut([[0, 65_535]], [0]), [[0, 1]]);
  assert.deepEqual(cut([[5, 5], [0, 10]], [0, 1]), [[0, 2], [5, 1], [6, 2], [11, 0]]);
  assert.deepEqual(cut([[5, 5], [0, 10]], [1]), [[0, 2], [11, 0]]);
  assert.deepEqual(cut([[5, 6], [7, 9]], [0]), [[0, 0], [5, 1], [7, 0]]);
  assert.deepEqual(cut([[9, 3], [-5, 2], [65_535, 70_000]], [0, 1, 2]), [[0, 2], [3, 0], [
    65_535,
    3,
  ]]);
});

Deno.test("PortCuts decides alike with forty rules, whose set has more than one word", () => {
  const ranges = Array.from({ length: 40 }, (_, i): [number, number] => [100 * i, 100 * i + 9]);
  assert.deepEqual(cut(ranges, [0, 31, 32, 39]), [
    [0, 1],
    [10, 0],
    [3100, 32],
    [3110, 0],
    [3200, 33],
    [3210, 0],
    [3900, 40],
    [3910, 0],
  ]);
});
