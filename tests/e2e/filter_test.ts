/**
 * The packet filter between real nodes: rules of all layers, and what becomes of open connections
 * when rules change.
 * @module
 */
import { strict as assert } from "node:assert";
import type {
  FilterReport,
  FilterRuleReport,
  FilterTrace,
} from "../../core/daemon/filter_types.ts";
import { meshTest } from "./lab/mesh.ts";
import type { Node } from "./lab/node.ts";
import { waitFor } from "./lab/process.ts";
import { ping } from "./lab/traffic.ts";
import { BulkStream } from "./nat/streams.ts";

const PORT = "7002";
/** A connection that carries nothing for so long carries nothing. */
const STILL_MS = 400;

/** Adds a temporary rule; answers with its id. */
async function add(node: Node, ...args: string[]): Promise<string> {
  return (await node.cliJson<FilterRuleReport>("filter", "add", ...args)).id;
}

/** Waits until nothing more arrives. */
async function waitForSilence(stream: BulkStream): Promise<void> {
  await waitFor("the end of a transfer", async () => {
    const before = stream.bytes;
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
    return stream.bytes === before;
  }, { timeoutMs: 10_000 });
}

async function hitsOf(node: Node, id: string): Promise<number> {
  const { rules } = await node.cliJson<FilterReport>("filter", "list");
  return rules.find((rule) => rule.id === id)!.hits;
}

meshTest({
  name: "a rule that is added stops an open connection, and it goes on when the rule is gone",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using stream = await BulkStream.start(a, b);
    const deny = ["--port", PORT, "--protocol", "tcp", "--action", "deny"];
    const id = await add(b, ...deny, "--source-peer", "a");
    await waitForSilence(stream);
    assert.ok(await hitsOf(b, id) > 0);
    assert.ok((await b.mustStatus()).drops.denied! > 0);
    assert.ok((await b.mustStatus()).filter.hits[id]! > 0);
    const trace = await b.cliJson<FilterTrace>("filter", "trace", "a", PORT);
    assert.equal(trace.verdict, "deny");
    assert.equal(trace.rules[0]!.id, id);
    assert.equal((await b.cliJson<FilterTrace>("filter", "trace", "c", PORT)).verdict, "allow");

    assert.equal((await b.cli("filter", "remove", id)).code, 0);
    await stream.waitForProgress();

    const short = await add(b, ...deny, "--ttl", "3s");
    await waitForSilence(stream);
    await stream.waitForProgress();
    const { rules } = await b.cliJson<FilterReport>("filter", "list");
    assert.ok(!rules.some((rule) => rule.id === short), "it has expired");
  },
});

meshTest({
  name: "what a node opens itself goes on whatever it denies to others, until it cuts a peer off",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using stream = await BulkStream.start(b, a);
    await add(b, "--action", "deny", "--protocol", "any");
    await add(b, "--action", "deny", "--port", "1-65535", "--source-peer", "a");
    await stream.waitForProgress();
    assert.equal((await ping(b.machine, "a.mesh")).received, 3);
    assert.equal((await ping(a.machine, (await b.addresses()).ip4)).received, 0);
    await stream.waitForProgress();

    const cut = await add(b, "--action", "deny", "--protocol", "any", "--source-peer", "a");
    await waitForSilence(stream);
    assert.equal((await b.cli("filter", "remove", cut)).code, 0);
    await stream.waitForProgress();
  },
});

meshTest({
  name: "the file's rules, with those of commands and services, hold at the node that has them",
  mesh: {
    start: {
      b: {
        config: `filter:
  rules:
    - { port: ${PORT}, protocol: tcp, action: deny, source_peer: a, comment: Not from a }
    - { protocol: icmp, action: deny, source_peer: a }
`,
      },
    },
  },
  run: async (mesh) => {
    const [a, b, c] = [mesh.node("a"), mesh.node("b"), mesh.coordinator];
    assert.equal((await ping(c.machine, "b.mesh")).received, 3);
    assert.equal((await ping(a.machine, "b.mesh")).received, 0);
    const report = await b.cliJson<FilterReport>("filter", "list");
    const [rule] = report.rules.filter(({ layer }) => layer === "config");
    assert.match(rule!.where, /node\.yaml:3:7$/);
    assert.equal(rule!.comment, "Not from a");
    assert.ok(report.rules.some(({ id }) => id === "service-dns"));

    await add(b, "--port", PORT, "--source-peer", "a");
    const trace = await b.cliJson<FilterTrace>("filter", "trace", `a -> b:${PORT}`);
    assert.deepEqual([trace.verdict, trace.rules[0]!.id], ["deny", rule!.id]);
    assert.ok(trace.rules.some(({ part, id }) => part === "overruled" && id === "t1"));
    assert.equal((await b.cli("filter", "remove", rule!.id)).code, 2);
    assert.equal((await b.cli("filter", "add", "--port", "1", "--source-peer", "nobody")).code, 1);
  },
});
