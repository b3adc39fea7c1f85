import assert from "node:assert/strict";
import { MeshError } from "../core/errors.ts";
import { policyHash } from "../core/state/bodies.ts";
import { actor } from "../core/state/fake_mesh.ts";
import { ControlClient } from "./control_client.ts";
import { FakeMeshDaemon } from "./fake_mesh_daemon.ts";
import { eventLines, PolicyWatch, statusOf, type WatchEvent } from "./policy_watch.ts";
import { tempDir } from "./testing_host.ts";

const RULES = "rules:\n  - { from: everyone, to: self, ports: any }\n";

/** A folder of one file, a mesh, and a watch between them. */
class World implements AsyncDisposable {
  readonly mesh = new FakeMeshDaemon(`${tempDir()}/d.sock`);
  text = RULES;
  watch: PolicyWatch;

  constructor(readonly enforce = false) {
    this.watch = this.start();
  }

  start(): PolicyWatch {
    return this.watch = new PolicyWatch({
      readTexts: () => {
        if (this.text === "") throw new MeshError("usage", "Cannot find a policy");
        return [{ file: "policy.yaml", shown: "p/policy.yaml", text: this.text }];
      },
      signer: null,
      enforce: this.enforce,
    });
  }

  async look(): Promise<WatchEvent> {
    using client = await ControlClient.connect(this.mesh.socketPath);
    return await this.watch.look(client);
  }

  /** Somebody applies another policy. */
  edit(text: string): void {
    const documents = [{ file: "policy.yaml", text }];
    this.mesh.mesh.say(actor(1), { type: "policy-set", documents, hash: policyHash(documents) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}

Deno.test("PolicyWatch applies what is new in the folder, once", async () => {
  await using world = new World();
  assert.equal((await world.look()).type, "applied");
  assert.equal(world.mesh.policyText, RULES);
  assert.equal((await world.look()).type, "in-sync");
  world.text = `${RULES}# More\n`;
  assert.equal((await world.look()).type, "applied");
  assert.equal(world.mesh.policyText, world.text);
});

Deno.test("PolicyWatch shows an edit by hand as drift and leaves it", async () => {
  await using world = new World();
  await world.look();
  world.edit(`${RULES}# By hand\n`);
  const event = await world.look();
  assert.equal(event.type, "drift");
  const lines = eventLines(event);
  assert.match(lines[0]!, /^drift: anna applied [0-9a-f]{12} by hand, entry 7$/);
  assert.ok(lines.includes("  +# By hand"));
  assert.equal((await world.look()).type, "drift");
  // Also after a restart.
  world.start();
  assert.equal((await world.look()).type, "drift");
  // What is committed later counts.
  world.text = `${RULES}# Later\n`;
  assert.equal((await world.look()).type, "applied");
});

Deno.test("PolicyWatch goes back to an older folder, which is a change while it runs", async () => {
  await using world = new World();
  await world.look();
  world.text = `${RULES}# Bad idea\n`;
  await world.look();
  world.text = RULES;
  assert.equal((await world.look()).type, "applied");
});

Deno.test("PolicyWatch takes a commit of the edit by hand for agreement", async () => {
  await using world = new World();
  await world.look();
  world.edit(`${RULES}# By hand\n`);
  await world.look();
  world.text = `${RULES}# By hand\n`;
  assert.equal((await world.look()).type, "in-sync");
});

Deno.test("PolicyWatch that enforces undoes an edit by hand", async () => {
  await using world = new World(true);
  await world.look();
  world.edit("rules: []\n");
  const event = await world.look();
  assert.equal(event.type, "applied");
  assert.equal(world.mesh.policyText, RULES);
  world.start();
  world.edit("rules: []\n");
  assert.equal((await world.look()).type, "applied");
});

Deno.test("PolicyWatch changes nothing for what is wrong, and goes on", async () => {
  await using world = new World();
  await world.look();
  const { head } = world.mesh.mesh.log;
  world.text = "rules:\n  - { from: everyone, to: self, ports: shs }\n";
  assert.match(eventLines(await world.look()).join("\n"), /\n {2}p\/policy\.yaml:2:33: rules\[0\]/);
  world.text = "rules: [\n";
  assert.equal((await world.look()).type, "invalid");
  world.text = `${RULES}tests:\n  - { from: user:bob, allow: "nas:22" }\n`;
  assert.match(eventLines(await world.look()).join("\n"), /failed: allow nas:22/);
  world.text = "";
  assert.equal(world.watch.fingerprint(), null);
  assert.equal(statusOf(await world.look()), 2);
  world.text = `${RULES}# More\n`;
  const error = new MeshError("coordinator-unreachable", "Cannot reach it", { hint: "Wait" });
  world.mesh.refusals.push({ path: "/v1/mesh/append", error });
  assert.deepEqual(eventLines(await world.look()), ["error: Cannot reach it", "  hint: Wait"]);
  assert.deepEqual(world.mesh.mesh.log.head, head);
  assert.equal((await world.look()).type, "applied");
});
