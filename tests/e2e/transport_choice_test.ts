/**
 * How nodes reach each other as an admin chooses it for them, by the mesh's log.
 * @module
 */
import { strict as assert } from "node:assert";
import { meshTest } from "./lab/mesh.ts";
import { PingStream } from "./lab/traffic.ts";
import { waitForLink } from "./nat/world.ts";

/** From the command's end until the other node follows, and room for a busy machine. */
const FOLLOWED_MS = 1_000;
const PATIENCE_MS = 2_000;

meshTest({
  name: "an admin keeps another node from UDP and lets it return, and traffic goes on",
  run: async (mesh) => {
    const [a, b, c] = [mesh.node("a"), mesh.node("b"), mesh.coordinator];
    await using stream = await PingStream.start(a.machine, (await b.addresses()).ip4, 20);
    await stream.waitForReply();
    const chosen = await c.cli("transport", "b", "--on", "a", "--exclude", "udp");
    assert.equal(chosen.code, 0, chosen.stderr);
    assert.match(chosen.stdout, /Excluded +udp/);
    const startedAt = performance.now();
    await waitForLink(a, "b", ["ssh", "relay"]);
    const ms = performance.now() - startedAt;
    if (Deno.env.get("LAB_FIGURES") === "1") console.log(`followed after ${Math.round(ms)} ms`);
    assert.ok(ms < FOLLOWED_MS + PATIENCE_MS, `${ms} ms`);
    assert.ok(await stream.waitForReply() <= FOLLOWED_MS);
    // It is about that node and that peer alone.
    await waitForLink(a, "c", ["udp"]);
    await waitForLink(b, "a", ["udp"]);
    // It is kept: the node follows it after a restart.
    await a.killHard();
    await a.start();
    await waitForLink(a, "b", ["ssh", "relay"]);

    assert.equal((await c.cli("transport", "b", "--on", "a", "--reset")).code, 0);
    await waitForLink(a, "b", ["udp"]);
    const refused = await c.cli("transport", "b", "--on", "nobody", "--reset");
    assert.equal(refused.code, 1);
    const audit = await c.cli("audit");
    assert.match(audit.stdout, /transport/);
  },
});
