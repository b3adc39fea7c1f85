/**
 * Do the commands about the packet filter ask the daemon for what was meant, and say what it says?
 * @module
 */
import assert from "node:assert/strict";
import type { FilterRuleReport, FilterTrace } from "../core/daemon/filter_types.ts";
import { MeshError } from "../core/errors.ts";
import type { CommandContext } from "./command.ts";
import { filter } from "./commands/filter.ts";
import { ControlClient } from "./control_client.ts";
import { FakeDaemon, type FakeReply, type SeenRequest, STATUS } from "./fake_daemon.ts";
import { inputSpecOf } from "./input_options.ts";
import { parseArguments } from "./parse.ts";
import { tempDir, TestOutput } from "./testing_host.ts";

const RULE: FilterRuleReport = {
  id: "t1",
  layer: "temporary",
  action: "allow",
  traffic: "tcp/22",
  from: "node:laptop",
  peers: 1,
  to: null,
  hits: 0,
  expiresInMs: 3_600_000,
  where: "filter add",
  comment: "",
};
const POLICY: FilterRuleReport = {
  ...RULE,
  id: "00c0ffee0000",
  layer: "coordinator",
  action: "deny",
  expiresInMs: null,
  where: "policy.yaml:12:5",
  comment: "Work",
};

/** Runs `filter` with these words against a daemon that answers so. */
async function run(
  words: readonly string[],
  answer: (request: SeenRequest) => FakeReply = () => ({ json: RULE }),
): Promise<{ text: string; errors: string; seen: SeenRequest[] }> {
  const [name, ...rest] = words;
  const command = filter.subcommands.find((each) => each.name === name)!;
  const { values } = parseArguments(inputSpecOf(command), rest, "filter");
  const input = command.input?.safeParse(values) ?? { success: true, data: {} };
  if (!input.success) throw new MeshError("usage", input.error!.issues[0]!.message);
  await using daemon = new FakeDaemon(`${tempDir()}/d.sock`, answer);
  const out = new TestOutput();
  const context = { out, daemon: () => ControlClient.connect(daemon.socketPath) };
  const prepared = await command.prepare(input.data, context as unknown as CommandContext);
  await prepared.run();
  return { text: out.written.join(""), errors: out.errors.join(""), seen: daemon.seen };
}

const ADDED: [words: string, body: Record<string, unknown>][] = [
  ["--port 22 --protocol tcp --source-peer laptop --ttl 1h", {
    ports: "22",
    protocol: "tcp",
    from: "node:laptop",
    ttlMs: 3_600_000,
  }],
  ["--port 8000-8010 --from user:anna --ttl 90", {
    ports: "8000-8010",
    from: "user:anna",
    ttlMs: 90_000,
  }],
  ["--protocol any --action deny --source-group admins --ttl 0", {
    action: "deny",
    from: "admins",
  }],
  ["--protocol icmp --source-tag ci --comment x", {
    protocol: "icmp",
    from: "tag:ci",
    comment: "x",
  }],
];

for (const [words, body] of ADDED) {
  Deno.test(`filter add ${words}`, async () => {
    const { seen, text } = await run(["add", ...words.split(" ")]);
    const defaults = { action: "allow", protocol: "any", from: "everyone", comment: "" };
    assert.deepEqual(seen[0], {
      method: "POST",
      path: "/v1/filter/add",
      body: { ...defaults, ...body },
    });
    assert.equal(text, "Added t1: allow tcp/22 from node:laptop, for 1h\n");
  });
}

const REFUSED: [words: string, message: RegExp][] = [
  ["add", /Cannot add a rule about everything/],
  ["add --port 22 --protocol icmp", /ICMP has no ports/],
  ["add --port 0", /must be a port/],
  ["add --port 22 --ttl 900d", /must be a time/],
  [
    "add --port 22 --source-peer a --source-tag b",
    /Cannot use --source-tag: it cannot stand beside --source-peer/,
  ],
  ["add --port 22 --source-tag A!", /Cannot use --source-tag: it must be a name/],
  ["add --port 22 --from self", /Cannot use --from: it must be user:NAME/],
  ["remove", /give its id/],
  ["trace laptop", /no port is given/],
  ["trace laptop->nas", /no port is given/],
];

for (const [words, message] of REFUSED) {
  Deno.test(`filter ${words} is refused before the daemon is asked`, async () => {
    await assert.rejects(() => run(words.split(" ")), (error) => {
      assert(error instanceof MeshError);
      assert.equal(error.code, "usage");
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("filter add warns when nobody is meant", async () => {
  const { errors } = await run(["add", "--port", "1"], () => ({ json: { ...RULE, peers: 0 } }));
  assert.match(errors, /No node of the mesh is node:laptop at present/);
});

Deno.test("filter remove asks by id or by likeness, and names what went", async () => {
  const answer = () => ({ json: [RULE, { ...RULE, id: "t2", expiresInMs: null }] });
  const { seen, text } = await run(["remove", "t1"], answer);
  assert.deepEqual(seen[0]!.body, { id: "t1" });
  assert.equal(text.split("\n")[1], "Removed t2: allow tcp/22 from node:laptop");
  const like = await run(
    ["remove", "--port", "22", "--protocol", "udp", "--source-peer", "a"],
    answer,
  );
  assert.deepEqual(like.seen[0]!.body, { ports: "22", protocol: "udp", from: "node:a" });
});

Deno.test("filter list shows layers, hits and places", async () => {
  const report = {
    defaultAction: "deny",
    hasPolicy: false,
    problem: null,
    rules: [{ ...POLICY, hits: 12 }, { ...RULE, peers: 0 }],
    drops: { denied: 3, "no-rule": 1 },
  };
  const { text } = await run(["list"], () => ({ json: report }));
  assert.equal(
    text,
    `What no rule speaks of is denied; what any rule denies, no rule allows.
The policy of the mesh is not known yet.

ID            LAYER        ACTION  TRAFFIC  FROM                   HITS  EXPIRES  WHERE             COMMENT
00c0ffee0000  coordinator  deny    tcp/22   node:laptop              12    never  policy.yaml:12:5  Work
t1            temporary    allow   tcp/22   node:laptop (0 peers)     0       1h  filter add

Dropped: denied 3, no-rule 1
`,
  );
});

Deno.test("filter trace shows verdict, rule and what lost; B of A -> B must be this node", async () => {
  const trace: FilterTrace = {
    from: { id: null, name: "laptop" },
    traffic: "tcp/22",
    verdict: "deny",
    rules: [{ ...POLICY, part: "decided" }, { ...RULE, part: "overruled" }],
    cutOffBy: "00c0ffee0000",
  };
  const answer = ({ path }: SeenRequest) => ({ json: path === "/v1/status" ? STATUS : trace });
  for (const words of [["laptop", "22"], ["laptop -> hub.mesh:22"], ["laptop->this:22"]]) {
    const { text, seen } = await run(["trace", ...words], answer);
    assert.equal(seen.at(-1)!.path, "/v1/filter/trace?from=laptop&port=22");
    assert.equal(
      text,
      `laptop -> this node, tcp/22: denied
  by policy.yaml:12:5 [coordinator]: deny tcp/22 from node:laptop  (Work)
  overruled filter add [temporary]: allow tcp/22 from node:laptop
  rule 00c0ffee0000 also takes answers from laptop to what this node sends
`,
    );
  }
  await assert.rejects(() => run(["trace", "laptop -> nas:22"], answer), /this node is "hub"/);
});

Deno.test("filter trace says how to let a plain WireGuard peer in, whom no policy knows", async () => {
  const trace = { from: { id: null, name: "phone" }, verdict: "deny", rules: [], cutOffBy: null };
  for (const [traffic, opening] of [["udp/53", "udp --port 53"], ["ping", "icmp"]] as const) {
    const { text } = await run(["trace", "phone", "53"], () => ({ json: { ...trace, traffic } }));
    assert.ok(text.includes(`filter add --source-peer phone --protocol ${opening}\n`), text);
  }
  const member = { ...trace, from: { id: "0123456789abcdef", name: "nas" }, traffic: "tcp/22" };
  const { text } = await run(["trace", "nas", "22"], () => ({ json: member }));
  assert.doesNotMatch(text, /filter add/);
});
