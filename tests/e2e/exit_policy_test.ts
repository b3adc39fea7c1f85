/**
 * Exits by leave of the mesh's policy: without it nobody is one, and who loses it is left at once
 * without a packet past the tunnel.
 * @module
 */
import { strict as assert } from "node:assert";
import type { MeshReport } from "../../core/daemon/mesh_report.ts";
import { labTest } from "../skip.ts";
import { type ExitMesh, exitsOf, withExitMesh } from "./lab/exit_mesh.ts";
import { EXIT4, HOME4, WORLD4 } from "./lab/exit_world.ts";
import { Watched } from "./lab/exit_watched.ts";
import type { Node } from "./lab/node.ts";
import { applyPolicy, FIRST_RULES } from "./lab/policy.ts";
import { waitFor } from "./lab/process.ts";

const ALLOWED = `${FIRST_RULES}exits: [{ offer: node:exit, use: node:client }]\n`;
/** The same exit for somebody else. */
const FOR_OTHERS = `${FIRST_RULES}exits: [{ offer: node:exit, use: node:c }]\n`;
/** From the statement until a node that is there enforces it, and room for a busy machine. */
const ENFORCED_MS = 1_000;
const PATIENCE_MS = 2_000;

/** Applies a policy and returns when it was stated. */
async function state(mesh: ExitMesh, policy: string): Promise<number> {
  await applyPolicy(mesh.coordinator, policy);
  return (await mesh.coordinator.api<MeshReport>("/v1/mesh")).policy!.at;
}

/** Waits until the client's exit is in a state; tells when it was seen. */
async function waitForState(client: Node, wanted: string): Promise<number> {
  await waitFor(`the exit ${wanted}`, async () => {
    return (await exitsOf(client))?.state === wanted;
  }, { timeoutMs: 20_000, everyMs: 20 });
  return Date.now();
}

labTest({
  name: "an exit that the policy does not allow is refused, and both ends say what to do",
  needs: { tools: ["ping"] },
  run: () =>
    withExitMesh(async (mesh) => {
      const exit = await mesh.joinExit("--allow-exit-traffic");
      const client = await mesh.joinClient();
      await client.waitUntilDirect(["exit"]);
      const listed = await client.cli("exit-node", "list");
      assert.match(listed.stdout, /exit +not allowed by the policy/);
      const refused = await client.cli("exit-node", "use", "exit");
      assert.equal(refused.code, 4, refused.stdout);
      assert.match(refused.stderr, /not allowed by the policy/);
      assert.match(refused.stderr, /offer: node:exit, use: node:client/);
      assert.equal((await exitsOf(client))?.state, "off");
      assert.match((await exit.cli("exit-node", "status")).stdout, /policy does not allow/);

      await state(mesh, FOR_OTHERS);
      assert.equal((await client.cli("exit-node", "use", "exit")).code, 4);
      await state(mesh, ALLOWED);
      await waitFor("the leave at the client", async () => {
        return (await client.cli("exit-node", "use", "exit")).code === 0;
      });
      await waitForState(client, "in-use");
    }, null),
});

labTest({
  name: "a policy that takes the exit away closes the kill switch at once, and nothing leaves",
  needs: { tools: ["tcpdump", "ping"] },
  run: () =>
    withExitMesh(async (mesh) => {
      await mesh.joinExit("--allow-exit-traffic");
      const watched = await Watched.start(mesh);
      const client = await mesh.joinClient("--exit-node", "exit");
      await watched.leaks();
      await watched.mustWork("the exit");
      for (const policy of [FOR_OTHERS, FIRST_RULES]) {
        const blocked = waitForState(client, "blocked");
        const at = await state(mesh, policy);
        const ms = await blocked - at;
        if (Deno.env.get("LAB_FIGURES") === "1") console.log(`exit left ${ms} ms after`);
        assert.ok(ms < ENFORCED_MS + PATIENCE_MS, `${ms} ms`);
        await watched.mustBeBlocked("the exit taken away");
        assert.match((await client.cli("exit-node", "status")).stdout, /policy .*not allow exit/);
        await state(mesh, ALLOWED);
        await watched.mustWork("the exit allowed again");
      }

      // Whoever said so goes on past the mesh.
      const direct = await client.cli("exit-node", "use", "exit", "--on-exit-loss", "direct");
      assert.equal(direct.code, 0, direct.stderr);
      assert.equal(await watched.probe.ask("tcp", `${WORLD4}:9999`), EXIT4);
      await state(mesh, FIRST_RULES);
      await waitForState(client, "direct");
      await waitFor("traffic past the mesh", async () => {
        return await watched.probe.ask("tcp", `${WORLD4}:9999`) === HOME4;
      });
    }, ALLOWED),
});
