import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import { type ErrorCode, MeshError } from "../../core/errors.ts";
import { type NodeFacts, signNodeRecord } from "../../core/identity/record.ts";
import { EPOCH, identityOf } from "../../tests/mesh_fixture.ts";
import { apply, MAX_DEPARTED, MAX_REMOVED } from "./apply.ts";
import {
  type Command,
  type CommandOf,
  decodeCommand,
  decodeState,
  emptyState,
  encodeState,
  type Node,
  SEEN_STEP_MS,
  type State,
} from "./state.ts";

const MESH_ID = "00112233445566778899aabbccddeeff";

/** Applies commands and keeps the state. */
class Play {
  state: State;
  readonly commands: Command[] = [];

  constructor(cidr4 = "172.30.0.0/16") {
    this.state = emptyState(MESH_ID, cidr4);
  }

  do(command: Command): void {
    this.state = apply(this.state, command).state;
    this.commands.push(command);
  }

  refuses(command: Command, code: ErrorCode): void {
    const before = this.state;
    assert.throws(
      () => apply(this.state, command),
      (error) => error instanceof MeshError && error.code === code,
      code,
    );
    assert.equal(this.state, before);
  }

  register(n: number, over: Partial<CommandOf<"register">> = {}): Node {
    this.do(registration(n, over));
    return this.node(n);
  }

  node(n: number): Node {
    return this.state.nodes.get(identityOf(n).peerId)!;
  }
}

function registration(n: number, over: Partial<CommandOf<"register">> = {}): Command {
  const identity = toBase64Url(identityOf(n).publicKey);
  return { type: "register", at: EPOCH, identity, name: "a", aliases: [], ...over };
}

function recordOf(n: number, node: Node, over: Partial<NodeFacts> = {}) {
  return signNodeRecord(identityOf(n), {
    name: node.name,
    addresses: [node.ip4, node.ip6],
    aliases: [...node.aliases],
    meshId: MESH_ID,
    seq: node.recordSeq + 1,
    ...over,
  });
}

Deno.test("apply() gives 200 identities names and addresses of their own", () => {
  const play = new Play();
  for (let n = 0; n < 200; n++) play.register(n);
  const nodes = [...play.state.nodes.values()];
  for (const field of ["name", "ip4", "ip6"] as const) {
    assert.equal(new Set(nodes.map((node) => node[field])).size, 200, field);
  }
  assert.deepEqual(nodes.slice(0, 3).map(({ name, ip4 }) => [name, ip4]), [
    ["a", "172.30.0.1"],
    ["a-2", "172.30.0.2"],
    ["a-3", "172.30.0.3"],
  ]);
});

Deno.test("apply() keeps name and addresses of an identity that registers again", () => {
  const play = new Play();
  const first = play.register(0);
  const before = play.state;
  assert.deepEqual(play.register(0), first);
  assert.equal(play.state, before, "nothing changed, so nothing needs to be written");
});

Deno.test("apply() renames a node that asks for another name, with its address", () => {
  const play = new Play();
  play.register(0);
  const { ip4 } = play.register(1);
  assert.deepEqual([play.node(1).name, play.node(1).wantedName], ["a-2", "a"]);
  const renamed = play.register(1, { name: "b" });
  assert.deepEqual([renamed.name, renamed.ip4], ["b", ip4]);
  play.register(0, { name: "c" });
  assert.equal(play.register(1, { name: "b" }).name, "b");
  assert.equal(play.register(1, { name: "a" }).name, "a", "the name is free by then");
});

Deno.test("apply() gives name and address of a node that left to the next", () => {
  const play = new Play();
  const first = play.register(0);
  const record = recordOf(0, first, { left: true });
  play.do({ type: "leave", at: EPOCH, id: first.id, record });
  const next = play.register(1);
  assert.deepEqual([next.name, next.ip4], ["a", first.ip4]);
  play.refuses({ type: "leave", at: EPOCH, id: first.id, record }, "peer-unknown");
  const back = play.register(0);
  assert.deepEqual([back.name, back.ip4, back.recordSeq], ["a-2", "172.30.0.2", 0]);
  assert.ok(play.state.departed.has(first.id), "the farewell stands until a newer record");
  play.do({ type: "update-record", at: EPOCH, id: first.id, record: recordOf(0, back) });
  assert.equal(play.state.departed.size, 0);
});

Deno.test("apply() keeps a bounded number of farewells", () => {
  const play = new Play();
  const node = play.register(0);
  const departed = new Map(Array.from({ length: MAX_DEPARTED }, (_, i) => {
    const id = i.toString(16).padStart(16, "0");
    return [id, { id, record: recordOf(0, node), seq: 0, at: 0 }];
  }));
  play.state = { ...play.state, departed };
  const record = recordOf(0, node, { left: true });
  play.do({ type: "leave", at: EPOCH, id: node.id, record });
  assert.equal(play.state.departed.size, MAX_DEPARTED);
  assert.equal([...play.state.departed.keys()].at(-1), node.id);
  assert.deepEqual([...play.state.removed], [["0".repeat(16), 0]], "a number outlives its record");
});

Deno.test("apply() keeps the last numbers of a bounded number of nodes that were taken out", () => {
  const play = new Play();
  const { id } = play.register(0);
  const ids = Array.from({ length: MAX_REMOVED }, (_, i) => i.toString(16).padStart(16, "0"));
  play.state = { ...play.state, removed: new Map(ids.map((each) => [each, 7])) };
  play.do({ type: "remove", at: EPOCH, id });
  assert.equal(play.state.removed.size, MAX_REMOVED);
  assert.equal(play.state.removed.has(ids[0]!), false, "the oldest went");
  assert.equal(play.state.removed.get(id), -1);
  assert.deepEqual(decodeState(encodeState(play.state)), play.state);
  const { removed: _, ...older } = JSON.parse(encodeState(play.state));
  assert.equal(decodeState(JSON.stringify(older)).removed.size, 0, "what was written before");
});

Deno.test("apply() takes a member that was revoked out, without a farewell", () => {
  const play = new Play();
  const { id, ip4 } = play.register(0);
  const { events } = apply(play.state, { type: "remove", at: EPOCH, id });
  assert.deepEqual(events, [{ type: "node-left", id }]);
  play.do({ type: "remove", at: EPOCH, id });
  assert.deepEqual([play.state.nodes.size, play.state.departed.size], [0, 0]);
  const before = play.state;
  play.do({ type: "remove", at: EPOCH, id });
  assert.equal(play.state, before);
  assert.equal(play.register(1).ip4, ip4, "its address is free");
});

Deno.test("apply() keeps when a node was heard of, within 6 h, and tells nobody of it", () => {
  const play = new Play();
  const { id, seenAt } = play.register(0);
  assert.equal(seenAt, EPOCH);
  const early = { type: "seen", at: EPOCH + SEEN_STEP_MS - 1, id } as const;
  assert.equal(apply(play.state, early).state, play.state);
  const late = { ...early, at: EPOCH + SEEN_STEP_MS };
  assert.deepEqual(apply(play.state, late).events, []);
  play.do(late);
  assert.equal(play.node(0).seenAt, EPOCH + SEEN_STEP_MS);
  const unknown = { ...late, id: identityOf(1).peerId };
  assert.equal(apply(play.state, unknown).state, play.state);
});

const RECORDS: [name: string, over: Partial<NodeFacts>, signer: number][] = [
  ["another name", { name: "b" }, 0],
  ["another address", { addresses: ["172.30.0.9", "fd00::1"] }, 0],
  ["an alias that was not registered", { aliases: ["www"] }, 0],
  ["another mesh", { meshId: "f".repeat(32) }, 0],
  ["a farewell", { left: true }, 0],
  ["an old number", { seq: 2 }, 0],
  ["another's signature", {}, 1],
];

for (const [name, over, signer] of RECORDS) {
  Deno.test(`apply() refuses a record with ${name}`, () => {
    const play = new Play();
    const node = play.register(0);
    play.do({
      type: "update-record",
      at: EPOCH,
      id: node.id,
      record: recordOf(0, node, { seq: 3 }),
    });
    const record = recordOf(signer, node, { seq: 4, ...over });
    play.refuses({ type: "update-record", at: EPOCH, id: node.id, record }, "record-invalid");
  });
}

Deno.test("apply() takes a record that offers an exit and networks, and one that takes them back", () => {
  const play = new Play();
  const node = play.register(0);
  const routes = [{ prefix: "192.168.7.0/24", mapped: "10.77.7.0/24" }];
  const records = [{ seq: 1, exit: true as const, routes }, { seq: 2 }]
    .map((over) => recordOf(0, node, over));
  for (const record of records) {
    play.do({ type: "update-record", at: EPOCH, id: node.id, record });
    assert.deepEqual(play.node(0).record, record);
  }
});

Deno.test("apply() refuses a registration when every address is leased", () => {
  const play = new Play("10.0.0.0/30");
  play.register(0);
  play.register(1);
  play.refuses(registration(2), "address-pool-exhausted");
});

Deno.test("state and commands survive being written as JSON", () => {
  const play = new Play();
  for (let n = 0; n < 5; n++) play.register(n);
  play.do({
    type: "update-record",
    at: EPOCH,
    id: play.node(1).id,
    record: recordOf(1, play.node(1)),
  });
  const record = recordOf(0, play.node(0), { left: true });
  play.do({ type: "leave", at: EPOCH, id: play.node(0).id, record });
  assert.deepEqual(decodeState(encodeState(play.state)), play.state);
  let replayed = emptyState(MESH_ID, "172.30.0.0/16");
  for (const command of play.commands) {
    ({ state: replayed } = apply(replayed, decodeCommand(JSON.stringify(command))));
  }
  assert.deepEqual(replayed, play.state);
  for (const text of ["", "{}", '{"type":"register"}']) {
    for (const decode of [decodeState, decodeCommand]) {
      assert.throws(
        () => decode(text),
        (error) => error instanceof MeshError && error.code === "state-invalid",
      );
    }
  }
});
