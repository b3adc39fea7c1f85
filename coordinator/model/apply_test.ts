import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import { type ErrorCode, MeshError } from "../../core/errors.ts";
import { type NodeFacts, signNodeRecord } from "../../core/identity/record.ts";
import { EPOCH, identityOf, MESH_ID } from "../../tests/coordinator_world.ts";
import { apply, MAX_DEPARTED } from "./apply.ts";
import {
  type Command,
  type CommandOf,
  decodeCommand,
  decodeState,
  emptyState,
  encodeState,
  type Node,
  type State,
} from "./state.ts";

const TOKEN = { id: "AAAAAAAAAAA", hash: "A".repeat(43) };
const OTHER_HASH = "B".repeat(42) + "A";

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

  token(over: Partial<CommandOf<"create-token">> = {}): void {
    this.do({
      type: "create-token",
      at: EPOCH,
      ...TOKEN,
      reusable: true,
      coordinator: false,
      note: "",
      expiresAt: null,
      createdBy: null,
      ...over,
    });
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
  return { type: "register", at: EPOCH, identity, name: "a", aliases: [], token: TOKEN, ...over };
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

Deno.test("apply() gives 200 identities names and addresses of their own, the first is admin", () => {
  const play = new Play();
  play.token();
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
  assert.deepEqual(nodes.filter((node) => node.isAdmin), [nodes[0]]);
  assert.equal(play.state.tokens.get(TOKEN.id)?.uses, 200);
});

Deno.test("apply() keeps name and addresses of an identity that registers again without token", () => {
  const play = new Play();
  play.token({ reusable: false });
  const first = play.register(0);
  const before = play.state;
  assert.deepEqual(play.register(0, { token: null }), first);
  assert.equal(play.state, before, "nothing changed, so nothing needs to be written");
  play.refuses(registration(1), "token-used");
  play.refuses(registration(1, { token: null }), "token-invalid");
});

const TOKENS: [
  name: string,
  token: Partial<CommandOf<"create-token">> | null,
  presented: { id: string; hash: string } | null,
  at: number,
  expected: ErrorCode | null,
][] = [
  ["a valid one", {}, TOKEN, 0, null],
  ["none", {}, null, 0, "token-invalid"],
  ["an unknown one", null, TOKEN, 0, "token-invalid"],
  ["a wrong secret", {}, { ...TOKEN, hash: OTHER_HASH }, 0, "token-invalid"],
  ["one a millisecond before it expires", { expiresAt: EPOCH + 10 }, TOKEN, 9, null],
  ["one that expires", { expiresAt: EPOCH + 10 }, TOKEN, 10, "token-expired"],
  [
    "a wrong secret of an expired one",
    { expiresAt: EPOCH + 10 },
    { ...TOKEN, hash: OTHER_HASH },
    20,
    "token-invalid",
  ],
];

for (const [name, token, presented, at, expected] of TOKENS) {
  Deno.test(`apply() judges a registration with ${name}`, () => {
    const play = new Play();
    if (token) play.token(token);
    const command = registration(0, { token: presented, at: EPOCH + at });
    if (expected) play.refuses(command, expected);
    else play.do(command);
  });
}

Deno.test("apply() refuses a revoked token, whatever else it is, but keeps who it admitted", () => {
  const play = new Play();
  play.token({ reusable: false, expiresAt: EPOCH + 10 });
  play.register(0);
  play.do({ type: "revoke-token", at: EPOCH, id: TOKEN.id });
  play.do({ type: "revoke-token", at: EPOCH, id: TOKEN.id });
  play.refuses(registration(1, { at: EPOCH + 20 }), "token-revoked");
  play.register(0, { name: "b" });
  play.refuses({ type: "revoke-token", at: EPOCH, id: "BBBBBBBBBBB" }, "token-invalid");
});

Deno.test("apply() forgets dead tokens after 30 days, when another one is made", () => {
  const play = new Play();
  play.token({ expiresAt: EPOCH + 10 });
  play.token({ id: "BBBBBBBBBBB" });
  const month = 31 * 86_400_000;
  play.token({ id: "CCCCCCCCCCC", at: EPOCH + month });
  assert.deepEqual([...play.state.tokens.keys()], ["BBBBBBBBBBB", "CCCCCCCCCCC"]);
});

Deno.test("apply() makes a coordinator of who presents a token for that, member or not", () => {
  const play = new Play();
  play.token();
  assert.equal(play.register(0).isCoordinator, false);
  const special = { id: "BBBBBBBBBBB", hash: TOKEN.hash };
  play.token({ ...special, coordinator: true, reusable: false });
  play.refuses(registration(0, { token: { ...special, hash: OTHER_HASH } }), "token-invalid");
  assert.equal(play.register(0, { token: special }).isCoordinator, true);
  play.register(0, { token: special });
  play.refuses(registration(1, { token: special }), "token-used");
  assert.equal(play.register(0).isCoordinator, true);
});

Deno.test("apply() renames a node that asks for another name, with its address", () => {
  const play = new Play();
  play.token();
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
  play.token();
  const first = play.register(0);
  const record = recordOf(0, first, { left: true });
  play.do({ type: "leave", at: EPOCH, id: first.id, record });
  const next = play.register(1);
  assert.deepEqual([next.name, next.ip4, next.isAdmin], ["a", first.ip4, false]);
  play.refuses({ type: "leave", at: EPOCH, id: first.id, record }, "peer-unknown");
  play.refuses(registration(0, { token: null }), "token-invalid");
  const back = play.register(0);
  assert.deepEqual([back.name, back.ip4, back.recordSeq], ["a-2", "172.30.0.2", 0]);
  assert.ok(play.state.departed.has(first.id), "the farewell stands until a newer record");
  play.do({ type: "update-record", at: EPOCH, id: first.id, record: recordOf(0, back) });
  assert.equal(play.state.departed.size, 0);
});

Deno.test("apply() keeps a bounded number of farewells", () => {
  const play = new Play();
  play.token();
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
    play.token();
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
  play.token();
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
  play.token();
  play.register(0);
  play.register(1);
  play.refuses(registration(2), "address-pool-exhausted");
});

Deno.test("state and commands survive being written as JSON", () => {
  const play = new Play();
  play.token();
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
