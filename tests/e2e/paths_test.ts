/**
 * What traffic does when its path is cut, and when it is put back.
 * @module
 */
import { strict as assert } from "node:assert";
import { meshTest } from "./lab/mesh.ts";
import { lose } from "./lab/nft.ts";
import { PingStream } from "./lab/traffic.ts";
import { DatagramStream } from "./nat/streams.ts";
import { peerOf, setPaths, waitForLink } from "./nat/world.ts";

meshTest({
  name: "UDP cut in mid-stream: traffic goes on over the relay <= 1 s, direct again <= 15 s after",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using stream = await PingStream.start(a.machine, (await b.addresses()).ip4, 20);
    await stream.waitForReply();
    {
      await using _cut = await lose(b.machine, 100, `ip saddr ${a.host.ip4} meta l4proto udp`);
      await using _cut6 = await lose(b.machine, 100, `ip6 saddr ${a.host.ip6} meta l4proto udp`);
      const ms = await stream.waitForReply();
      assert.ok(ms <= 1_000, `traffic back after ${ms} ms`);
      await a.waitForStatus("b by relay", ({ peers }) => {
        return peers.some(({ name, link }) => name === "b" && link === "relay");
      });
      assert.ok(await stream.waitForReply() <= 1_000);
    }
    const start = performance.now();
    await a.waitUntilDirect(["b"], 20_000);
    const ms = performance.now() - start;
    assert.ok(ms <= 15_000, `direct again after ${ms} ms`);
  },
});

meshTest({
  name: "a kind of path is excluded and allowed again under way: nothing is lost or doubled",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using datagrams = await DatagramStream.start(a, b, 1_000);
    await setPaths(a, "b", ["udp"]);
    await waitForLink(a, "b", ["relay", "ssh"]);
    await setPaths(a, "b", ["udp", "ssh"]);
    await waitForLink(a, "b", ["relay"]);
    // The other end was told nothing, and goes on as it did.
    await waitForLink(b, "a", ["udp"]);
    await setPaths(a, "b", []);
    await waitForLink(a, "b", ["udp"]);
    const { sent, received, doubled } = await datagrams.finish();
    assert.deepEqual({ received, doubled }, { received: sent, doubled: 0 });
  },
});

meshTest({
  name: "a file excludes kinds of path for one peer: they are not used for that one",
  mesh: { nodes: ["a"] },
  run: async (mesh) => {
    const excluded = "transports:\n  peers:\n    - name: a\n      exclude: [udp, ssh]\n";
    const x = await mesh.joinWith("x", { config: excluded });
    await x.waitUntilDirect(["c"]);
    await using stream = await PingStream.start(x.machine, (await mesh.node("a").addresses()).ip4);
    await waitForLink(x, "a", ["relay"]);
    await stream.waitForReply();
    assert.equal((await peerOf(x, "a")).link, "relay");
  },
});
