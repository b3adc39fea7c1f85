/**
 * Real traffic through the tunnel, on good and bad networks.
 * @module
 */
import { strict as assert } from "node:assert";
import { bulkSha256 } from "./lab/bulk.ts";
import { type Mesh, meshTest } from "./lab/mesh.ts";
import { lose } from "./lab/nft.ts";
import type { Namespace } from "./lab/netns.ts";
import { waitFor } from "./lab/process.ts";
import { download, iperf, ping, type PingOptions, serveBulk } from "./lab/traffic.ts";

const GIBIBYTE = 1 << 30;

meshTest({
  name: "TCP runs both ways at once with IPv6, and each way alone",
  needs: { tools: ["iperf3"] },
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    const { ip4, ip6 } = await b.addresses();
    for (const reverse of [false, true]) {
      const result = await iperf(a.machine, b.machine, ip4, { seconds: 2, reverse });
      assert.ok(result.megabitsPerSecond > 20, `${result.megabitsPerSecond} Mbit/s`);
    }
    const [there, back] = await Promise.all([
      iperf(a.machine, b.machine, ip6, { seconds: 2 }),
      iperf(b.machine, a.machine, (await a.addresses()).ip6, { seconds: 2 }),
    ]);
    assert.ok(there.bytes > 1e6 && back.bytes > 1e6, `${there.bytes} and ${back.bytes} bytes`);
  },
});

meshTest({
  name: "a download of 1 GiB arrives complete and unharmed",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using _server = await serveBulk(b.machine);
    const got = await download(a.machine, "b.mesh", GIBIBYTE, 150_000);
    assert.equal(got.bytes, GIBIBYTE);
    assert.equal(got.sha256, bulkSha256(GIBIBYTE));
    assert.ok((await a.residentBytes()) < 400e6, "the daemon holds no backlog");
  },
});

meshTest({
  name: "ping and TCP pass with 1 % of all datagrams lost both ways",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    await using lossA = await lose(a.machine, 1);
    await using lossB = await lose(b.machine, 1);
    const pinged = await ping(a.machine, "b.mesh", { count: 300, intervalMs: 5 });
    assert.ok(pinged.received >= 280, `${pinged.received} of ${pinged.sent}`);
    await checkDownload(mesh, 30_000_000);
    assert.ok((await lossA.lost()) + (await lossB.lost()) > 0, "the rule lost something");
  },
});

for (const mtu of [1280, 1400, 1500]) {
  meshTest({
    name: `TCP and large pings pass on an underlay of MTU ${mtu}`,
    mesh: { mtu },
    run: async (mesh) => {
      const [a, b] = [mesh.node("a"), mesh.node("b")];
      for (const family of [4, 6] as const) {
        // From small to far beyond the tunnel's MTU, in fragments.
        for (const size of [56, 1_200, 1_392, 4_000]) {
          await pingSoon(a.machine, "b.mesh", { size, family, count: 2 });
          await pingSoon(b.machine, "a.mesh", { size, family, count: 2 });
        }
      }
      await checkDownload(mesh, 30_000_000);
    },
  });
}

/**
 * Waits until every reply comes. A packet that is too long for the path in use is answered as by a
 * router, and the system cuts the next ones: once per path, of which the first seconds may see two.
 */
async function pingSoon(from: Namespace, target: string, options: PingOptions): Promise<void> {
  await waitFor(`${from.label}'s pings of ${target} with ${options.size} bytes`, async () => {
    const { sent, received } = await ping(from, target, options);
    return sent > 0 && received === sent;
  }, { timeoutMs: 5_000 });
}

async function checkDownload(mesh: Mesh, bytes: number): Promise<void> {
  await using _server = await serveBulk(mesh.node("b").machine);
  const got = await download(mesh.node("a").machine, "b.mesh", bytes);
  assert.deepEqual({ ...got, ms: 0 }, { bytes, sha256: bulkSha256(bytes), ms: 0 });
}
