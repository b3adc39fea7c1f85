/**
 * Every acceleration, and every mix of nodes with and without it, carries the same traffic.
 * @module
 */
import { strict as assert } from "node:assert";
import { ACCELERATIONS } from "../../core/dataplane/settings.ts";
import { bulkSha256 } from "./lab/bulk.ts";
import { type Mesh, meshTest } from "./lab/mesh.ts";
import { lose } from "./lab/nft.ts";
import { download, iperf, mustPing, serveBulk } from "./lab/traffic.ts";

const BYTES = 60_000_000;

/** The same file both ways, whole, and a UDP stream. */
async function checkTraffic(mesh: Mesh): Promise<void> {
  for (const [from, to] of [["a", "b"], ["b", "a"]] as const) {
    await using _server = await serveBulk(mesh.node(to).machine);
    const got = await download(mesh.node(from).machine, `${to}.mesh`, BYTES);
    assert.equal(got.sha256, bulkSha256(BYTES), `${from} from ${to}`);
  }
  const [a, b] = [mesh.node("a"), mesh.node("b")];
  for (const family of [4, 6] as const) {
    await mustPing(a.machine, "b.mesh", { size: 4_000, family, count: 2 });
  }
  const { ip4 } = await b.addresses();
  const udp = await iperf(a.machine, b.machine, ip4, { seconds: 1, udpMegabits: 50 });
  assert.ok(udp.bytes > 1e6, `${udp.bytes} bytes by UDP`);
}

const ALL_OFF = ACCELERATIONS.flatMap((name) => ["--disable", name]);
const MIXES: readonly { readonly name: string; readonly a: string[]; readonly b: string[] }[] = [
  { name: "everything off at one end", a: ALL_OFF, b: [] },
  { name: "everything off at both ends", a: ALL_OFF, b: ALL_OFF },
  { name: "plain WireGuard with offloads", a: ["--disable", "pieces", "--disable", "aes"], b: [] },
  { name: "the packet kernel's cipher at one end", a: ["--aead", "wasm"], b: [] },
  { name: "no super-packets at the far interface", a: [], b: ["--disable", "tso"] },
  { name: "two pairs of workers at one end", a: ["--workers", "2"], b: [] },
  {
    name: "no trains of datagrams",
    a: ["--disable", "gso"],
    b: ["--disable", "gro", "--disable", "uso"],
  },
];

for (const { name, a, b } of MIXES) {
  meshTest({
    name: `traffic passes with ${name}`,
    needs: { tools: ["iperf3"] },
    mesh: { start: { a: { args: a }, b: { args: b } } },
    run: checkTraffic,
  });
}

meshTest({
  name: "status names the cipher in use",
  mesh: { nodes: ["a"], start: { a: { args: ["--aead", "wasm"] } } },
  run: async (mesh) => {
    assert.equal((await mesh.node("a").mustStatus()).aead, "wasm");
  },
});

meshTest({
  name: "a download survives that single datagrams of super-packets are lost",
  run: async (mesh) => {
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    // Cuts super-packets before the wire, so that the rule does not lose them whole.
    await b.machine.must(["ip", "link", "set", "dev", "eth0", "gso_max_segs", "1"]);
    await using loss = await lose(a.machine, 2, "udp length > 1000");
    await using _server = await serveBulk(b.machine);
    const got = await download(a.machine, "b.mesh", 30_000_000);
    assert.equal(got.sha256, bulkSha256(30_000_000));
    assert.ok((await loss.lost()) > 100, "datagrams were lost one by one");
  },
});
