/**
 * The laboratory itself: what other tests rely on when they blame the product.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { bulkSha256 } from "./lab/bulk.ts";
import { Namespace } from "./lab/netns.ts";
import { lose } from "./lab/nft.ts";
import { isAlive, run, spawn, waitFor } from "./lab/process.ts";
import { Lan } from "./lab/topology.ts";
import { download, iperf, mustPing, ping, PingStream, serveBulk } from "./lab/traffic.ts";

labTest({
  name: "Lan carries IPv4, IPv6, TCP and full-size packets between machines",
  needs: { tools: ["iperf3"] },
  run: async () => {
    await using lan = await Lan.create(["a", "b"]);
    const [a, b] = [lan.host("a"), lan.host("b")];
    await mustPing(a.namespace, b.ip4);
    await mustPing(a.namespace, b.ip6);
    await mustPing(a.namespace, b.ip4, { size: 1472, dontFragment: true });
    assert.ok((await iperf(a.namespace, b.namespace, b.ip6, { seconds: 1 })).bytes > 1e6);
    await using _server = await serveBulk(b.namespace);
    const got = await download(a.namespace, b.ip4, 10_000_000);
    assert.equal(got.sha256, bulkSha256(10_000_000));
  },
});

labTest({
  name: "Lan drops what exceeds its MTU",
  run: async () => {
    await using lan = await Lan.create(["a", "b"], { mtu: 1280 });
    const [a, b] = [lan.host("a"), lan.host("b")];
    await mustPing(a.namespace, b.ip4, { size: 1252, dontFragment: true });
    const large = await ping(a.namespace, b.ip4, { size: 1253, count: 1, dontFragment: true });
    assert.equal(large.received, 0);
  },
});

labTest({
  name: "lose() loses the share it was asked to, and none after its disposal",
  run: async () => {
    await using lan = await Lan.create(["a", "b"]);
    const [a, b] = [lan.host("a"), lan.host("b")];
    {
      await using rule = await lose(b.namespace, 20);
      const result = await ping(a.namespace, b.ip4, { count: 400, intervalMs: 2, timeoutMs: 200 });
      assert.ok(result.received > 250 && result.received < 370, `received ${result.received}`);
      assert.equal(await rule.lost(), result.sent - result.received);
    }
    await mustPing(a.namespace, b.ip4, { count: 50, intervalMs: 2 });
  },
});

labTest({
  name: "PingStream tells how long a link was down",
  run: async () => {
    await using lan = await Lan.create(["a", "b"]);
    const [a, b] = [lan.host("a"), lan.host("b")];
    await using stream = await PingStream.start(a.namespace, b.ip4, 20);
    await lan.setLink("b", "down");
    await run(["sleep", "0.5"]);
    await lan.setLink("b", "up");
    await stream.waitForReply();
    const gap = stream.longestGapMs();
    assert.ok(gap > 400 && gap < 3_000, `gap ${gap} ms`);
    assert.ok(stream.lost() >= 15, `lost ${stream.lost()}`);
  },
});

labTest({
  name: "Namespace keeps a machine's files apart from the host's",
  run: async () => {
    const before = await Deno.readTextFile("/etc/resolv.conf").catch(() => null);
    await using file = await Namespace.create("f");
    await using mount = await Namespace.create("m", { resolvConf: "mount" });
    const replace = "echo nameserver 192.0.2.1 > /etc/r && mv -f /etc/r /etc/resolv.conf";
    await file.must(["sh", "-c", `${replace}; echo x > /run/x; echo y > /var/lib/y; cd; pwd`]);
    assert.equal(await file.readFile("/etc/resolv.conf"), "nameserver 192.0.2.1\n");
    assert.equal(await file.readFile("/run/x"), "x\n");
    assert.equal(await file.readFile("/var/lib/y"), "y\n");
    // A mount point, as containers have one, can be written but not replaced.
    const rename =
      "Deno.writeTextFileSync('/etc/r', 'x'); Deno.renameSync('/etc/r', '/etc/resolv.conf')";
    assert.notEqual((await mount.run([Deno.execPath(), "eval", rename])).code, 0);
    await mount.must(["sh", "-c", "echo nameserver 192.0.2.2 > /etc/resolv.conf"]);
    assert.equal(await mount.readFile("/etc/resolv.conf"), "nameserver 192.0.2.2\n");
    assert.equal(await Deno.readTextFile("/etc/resolv.conf").catch(() => null), before);
    await assert.rejects(Deno.stat("/run/x"));
  },
});

labTest({
  name: "Namespace ends what runs in it when it is disposed of",
  run: async () => {
    let pid: number;
    let name: string;
    {
      await using machine = await Namespace.create("x");
      name = machine.name;
      await machine.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"]);
      pid = (await machine.pids())[0]!;
      assert.ok(isAlive(pid));
    }
    await waitFor("the end of the process", () => !isAlive(pid));
    assert.ok(!(await run(["ip", "netns", "list"])).stdout.includes(name));
    await assert.rejects(Deno.stat(`/tmp/${name}`));
  },
});

labTest({
  name: "Process ends the descendants of a program with it, by process id",
  run: async () => {
    await using shell = spawn(["sh", "-c", "sleep 1000 & echo $!; wait"]);
    const child = Number((await shell.waitForOutput(/\d+/))[0]);
    shell.killTree("SIGKILL");
    await shell.exited;
    await waitFor("the end of the child", () => !isAlive(child));
  },
});
