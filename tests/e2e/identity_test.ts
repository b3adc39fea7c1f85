/**
 * Users, policy and revocation between real nodes: who is invited reaches what the policy says, a
 * change of it holds at once, and who is revoked is a stranger everywhere.
 * @module
 */
import { strict as assert } from "node:assert";
import type { MeshReport, TokenReport } from "../../core/daemon/mesh_report.ts";
import type { FilterReport } from "../../core/daemon/filter_types.ts";
import { type Mesh, meshTest } from "./lab/mesh.ts";
import type { Node } from "./lab/node.ts";
import { applyPolicy, tryToApply } from "./lab/policy.ts";
import { waitFor } from "./lab/process.ts";
import { mustPing, ping, serveBulk, waitForPing } from "./lab/traffic.ts";
import { assertWithin } from "./nat/world.ts";

const WEB = 8080;
/** From a change until it holds, and room for a busy machine. */
const ENFORCED_MS = 1_000;
const PATIENCE_MS = 5_000;

/** The policy that a mesh begins with, and that bob may see the web server of a. */
const WEB_FOR_BOB = `# What bob may.
rules:
  - { from: everyone, to: self, ports: any }
  - { from: everyone, to: everyone, ports: [ping, mesh] }
  - { from: user:bob, to: node:a, ports: tcp/${WEB}, comment: The web server }
  - { from: everyone, to: everyone, ports: udp/9, comment: Thrown away }
tests:
  - from: user:bob
    allow: a:${WEB}
    deny: c:${WEB}
`;

/** Joins a machine of a new user. */
async function invite(mesh: Mesh, user: string): Promise<Node> {
  const { coordinator } = mesh;
  const { token } = await coordinator.cliJson<TokenReport>("token", "create", "--new-user", user);
  const { url } = coordinator.invitation!;
  coordinator.invitation = { url, token };
  const node = await mesh.join(`${user}-pc`);
  await mesh.waitUntilDirect();
  return node;
}

/** Whether a TCP connection to a machine can be opened. */
async function connects(from: Node, to: Node): Promise<boolean> {
  const { ip4 } = await to.addresses();
  const open = `exec 3<>/dev/tcp/${ip4}/${WEB}`;
  return (await from.machine.run(["timeout", "1", "bash", "-c", open])).code === 0;
}

/** How long after its statement a rule was at a node, in milliseconds. */
async function arrivalOf(node: Node, comment: string, since: Promise<number>): Promise<number> {
  await waitFor(`the rule "${comment}" at ${node.name}`, async () => {
    const { rules } = await node.api<FilterReport>("/v1/filter");
    return rules.some((rule) => rule.comment === comment);
  }, { timeoutMs: 20_000, everyMs: 10 });
  return Date.now() - await since;
}

meshTest({
  name: "an invited user reaches what the policy says, and a policy that is applied holds at once",
  run: async (mesh) => {
    const [a, c] = [mesh.node("a"), mesh.coordinator];
    await using _servers = await servers(a, c);
    const bob = await invite(mesh, "bob");
    const { users, nodes, me } = await report(c);
    assert.deepEqual(users.map(({ isAdmin }) => isAdmin).sort(), [false, true]);
    assert.equal(nodes.find(({ name }) => name === "bob-pc")!.user, "bob");
    assert.ok(me.isAdmin);

    await mustPing(bob.machine, "a.mesh");
    assert.ok(await connects(mesh.node("b"), a), "nodes of one user reach each other");
    assert.ok(!await connects(bob, a), "bob does not reach what nobody allowed");
    const refused = await tryToApply(bob, WEB_FOR_BOB);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /admin/);

    const stated = Promise.withResolvers<number>();
    const others = [a, mesh.node("b"), bob];
    const arrivals = others.map((node) => arrivalOf(node, "Thrown away", stated.promise));
    await applyPolicy(c, WEB_FOR_BOB);
    stated.resolve((await report(c)).policy!.at);
    const ms = Math.max(...await Promise.all(arrivals));
    assertWithin(ms, ENFORCED_MS + PATIENCE_MS, "a policy at three nodes");
    assert.ok(await connects(bob, a));
    assert.ok(!await connects(bob, c));

    const { code, stderr } = await tryToApply(c, "rules:\n  - { from: nobody-knows, to: a }\n");
    assert.notEqual(code, 0);
    assert.match(stderr, /policy\.yaml:2:\d+/);
    assert.ok(await connects(bob, a), "a document with a bad line changes nothing");
  },
});

meshTest({
  name: "a node that is revoked is a stranger everywhere at once, and comes back by an admin only",
  run: async (mesh) => {
    const [a, c] = [mesh.node("a"), mesh.coordinator];
    const bob = await invite(mesh, "bob");
    const { ip4 } = await bob.addresses();
    await mustPing(a.machine, ip4);
    const revoked = await c.cli("node", "revoke", "bob-pc", "--yes");
    assert.equal(revoked.code, 0, revoked.stderr);
    const at = (await report(c)).revoked[0]!.at;
    for (const node of mesh.nodes.filter((each) => each !== bob)) {
      await node.waitForStatus(
        "no revoked peer",
        ({ peers }) => !peers.some(({ name }) => name === "bob-pc"),
      );
    }
    const ms = Date.now() - at;
    assertWithin(ms, ENFORCED_MS + PATIENCE_MS, "revoked everywhere");
    assert.equal((await ping(a.machine, ip4, { count: 1 })).received, 0);
    assert.equal((await ping(bob.machine, (await a.addresses()).ip4, { count: 1 })).received, 0);
    await bob.waitForStatus(
      "a warning",
      ({ warnings }) => warnings.some((text) => text.includes("revoked")),
    );

    const { token } = await c.cliJson<TokenReport>("token", "create");
    await bob.stop();
    const forgetful = ["--state-dir", `${bob.machine.directory}/home/other`];
    const again = await bob.cli("join", c.invitation!.url, "--token", token, ...forgetful);
    assert.notEqual(again.code, 0);
    assert.match(again.stderr, /revoked.*node admit/s);

    const admitted = await c.cli("node", "admit", "bob-pc", "--yes");
    assert.equal(admitted.code, 0, admitted.stderr);
    assert.match(admitted.stdout, /is admitted, key SHA256:\S+, for bob;/);
    await bob.start();
    await bob.waitForStatus("connected", ({ coordinator }) => coordinator.state === "connected");
    await waitForPing(a.machine, (await bob.addresses()).ip4);
    assert.deepEqual((await report(c)).revoked, []);
  },
});

meshTest({
  name: "policy and members are kept: they hold after a restart without any coordinator",
  run: async (mesh) => {
    const [a, c] = [mesh.node("a"), mesh.coordinator];
    await using _server = await serveBulk(a.machine);
    const bob = await invite(mesh, "bob");
    await applyPolicy(c, WEB_FOR_BOB);
    await waitFor("the web server for bob", () => connects(bob, a), { timeoutMs: 10_000 });
    await c.killHard();
    await a.killHard();
    await a.start();
    await a.waitUntilDirect(["bob-pc", "b"], 20_000);
    assert.ok(await connects(bob, a));
    const explained = await a.cli("policy", "explain", "bob-pc", `a:${WEB}`);
    assert.match(explained.stdout, /policy\.yaml:5/);
    const late = await a.cli("token", "create");
    assert.notEqual(late.code, 0);
  },
});

async function servers(...nodes: Node[]): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  for (const { machine } of nodes) stack.use(await serveBulk(machine));
  return stack;
}

/** What the daemon tells of the mesh. */
async function report(node: Node): Promise<MeshReport> {
  return await node.api("/v1/mesh");
}
