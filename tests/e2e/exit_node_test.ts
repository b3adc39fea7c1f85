/**
 * A node reaches the internet through another one, by the command line alone.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { Probe } from "./lab/exit_control.ts";
import { exitsOf, withExitMesh } from "./lab/exit_mesh.ts";
import { EXIT4, EXIT6, HOME4, WORLD4, WORLD6 } from "./lab/exit_world.ts";
import { waitFor } from "./lab/process.ts";

labTest({
  name: "a client reaches the internet through an exit, as long as both want it",
  needs: { tools: ["ping"] },
  run: () =>
    withExitMesh(async (mesh) => {
      const exit = await mesh.joinExit("--allow-exit-traffic");
      const client = await mesh.joinClient();
      const probe = new Probe(await mesh.world.script(mesh.world.client, "exit_probe", []));
      assert.equal(await probe.ask("tcp", `${WORLD4}:9999`), HOME4);
      await client.waitUntilDirect(["exit"]);
      const used = await client.cli("exit-node", "use", "exit");
      assert.equal(used.code, 0, used.stderr);
      await waitFor("the exit in use", async () => (await exitsOf(client))?.state === "in-use");
      for (const transport of ["udp", "tcp"] as const) {
        assert.equal(await probe.ask(transport, `${WORLD4}:9999`), EXIT4);
        assert.equal(await probe.ask(transport, `[${WORLD6}]:9999`), EXIT6);
      }
      const off = await client.cli("exit-node", "off");
      assert.equal(off.code, 0, off.stderr);
      assert.equal(await probe.ask("tcp", `${WORLD4}:9999`), HOME4);
      await exit.stop();
    }),
});
