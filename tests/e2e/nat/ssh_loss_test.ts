/**
 * An SSH link whose network loses a third: it fails or goes on, and hangs in neither case.
 * @module
 */
import { PingStream } from "../lab/traffic.ts";
import { assertWithin, setPaths, waitForLink, worldTest } from "./world.ts";

const LOSS = 0.3;
/** Longer than a link that carries nothing may take to be given up. */
const LOSSY_MS = 15_000;

worldTest({
  name: "30 % loss under an SSH link: nothing hangs, and traffic is back after it",
  run: async (world) => {
    const [a, b] = await Promise.all([world.joinAt("public", "a"), world.joinAt("public", "b")]);
    const others = ["udp", "node", "relay"] as const;
    await Promise.all([setPaths(a.node, "b", others), setPaths(b.node, "a", others)]);
    await using pings = await PingStream.start(a.node.machine, (await b.node.addresses()).ip4, 50);
    await Promise.all([waitForLink(a.node, "b", ["ssh"]), waitForLink(b.node, "a", ["ssh"])]);
    await pings.waitForReply();
    await b.site.setLoss(LOSS);
    for (const end = Date.now() + LOSSY_MS; Date.now() < end;) {
      // The local API answers whatever happens to the link.
      for (const { node } of [a, b]) await node.mustStatus();
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    await b.site.setLoss(0);
    assertWithin(await pings.waitForReply(30_000), 20_000, "traffic after the loss");
    await waitForLink(a.node, "b", ["ssh"], 30_000);
  },
});
