import { strict as assert } from "node:assert";
import { MeshError } from "../../errors.ts";
import type { ClientExitSettings } from "../../exit/client_plan.ts";
import { inFolder } from "../_folder.ts";
import { FakeMac } from "./_fake_mac.ts";
import { MacExitClient } from "./exit_client.ts";

const SETTINGS: ClientExitSettings = {
  context: "default",
  interfaceName: "utun4",
  mark: 0,
  table: 0,
  priority: 0,
  udpPorts: [51820],
  tcpPorts: [],
  endpoints: [
    { ip: "192.0.2.1", protocol: "tcp", port: 8443 },
    { ip: "2001:db8::1", protocol: "udp", port: 3478 },
  ],
  otherMeshes: [],
  lanPrefixes: [],
  ipv4: true,
  ipv6: false,
  onLoss: "block",
};
const OWN = { resolver: "172.30.0.5" };
const ANCHOR = "com.apple/000.tunnelmesh.exit.default";
const UNTOUCHED = new FakeMac().state;

/** A daemon that lives for one call. */
async function withClient<T>(
  folder: string,
  mac: FakeMac,
  act: (client: MacExitClient) => Promise<T>,
): Promise<T> {
  using client = await MacExitClient.open(folder, mac.run);
  return await act(client);
}

Deno.test("MacExitClient closes the kill switch first and opens it last", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    await withClient(folder, mac, async (client) => {
      assert.equal(await client.isApplied(), false);
      assert.deepEqual(await client.apply(SETTINGS, OWN), { problem: null });
      assert.equal(await client.isApplied(), true);
      assert.deepEqual(mac.told, [
        `/sbin/pfctl -a ${ANCHOR} -f -`,
        "/sbin/pfctl -F states",
        "/sbin/pfctl -E",
        "/sbin/route -n add -inet 192.0.2.1 -gateway 192.168.1.1",
        "/sbin/route -n add -inet6 2001:db8::1 -gateway fe80::1%en0",
        "/sbin/route -n add -inet6 ::/1 -gateway ::1 -reject",
        "/sbin/route -n add -inet6 8000::/1 -gateway ::1 -reject",
        "scutil set State:/Network/Service/tunnelmesh_exit_default/DNS",
        "/sbin/route -n add -inet 0.0.0.0/1 -interface utun4",
        "/sbin/route -n add -inet 128.0.0.0/1 -interface utun4",
      ]);
      mac.told = [];
      await client.remove(() => Promise.resolve(void mac.told.push("(not yet open)")));
      assert.deepEqual(mac.told, [
        "/sbin/route -n delete -inet 128.0.0.0/1",
        "/sbin/route -n delete -inet 0.0.0.0/1",
        "scutil remove State:/Network/Service/tunnelmesh_exit_default/DNS",
        "/sbin/route -n delete -inet6 8000::/1",
        "/sbin/route -n delete -inet6 ::/1",
        "/sbin/route -n delete -inet6 2001:db8::1",
        "/sbin/route -n delete -inet 192.0.2.1",
        "(not yet open)",
        `/sbin/pfctl -a ${ANCHOR} -F all`,
        "/sbin/pfctl -X 100",
      ]);
      assert.equal(await client.isApplied(), false);
    });
    assert.deepEqual(mac.state, UNTOUCHED);
  });
});

Deno.test("MacExitClient changes what differs, and enables the filter once", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    await withClient(folder, mac, async (client) => {
      await client.apply(SETTINGS, OWN);
      mac.told = [];
      mac.gateway = "10.0.0.1";
      await client.apply({ ...SETTINGS, endpoints: SETTINGS.endpoints.slice(0, 1) }, OWN);
      assert.deepEqual(mac.told, [
        `/sbin/pfctl -a ${ANCHOR} -f -`,
        "/sbin/route -n delete -inet6 2001:db8::1",
        "/sbin/route -n delete -inet 192.0.2.1",
        "/sbin/route -n add -inet 192.0.2.1 -gateway 10.0.0.1",
      ]);
      await client.remove();
    });
    assert.deepEqual(mac.state, UNTOUCHED);
  });
});

Deno.test("MacExitClient undoes after kill -9 what is left, and nothing of others", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    await withClient(folder, mac, (client) => client.apply(SETTINGS, OWN));
    mac.dropInterface("utun4");
    mac.routes.set("0.0.0.0/1", "-interface utun9");
    assert.ok(mac.anchors.has(ANCHOR) && mac.references.size === 1, "it stays closed");
    await withClient(folder, mac, async (client) => {
      assert.equal(await client.isApplied(), true);
      await client.remove();
    });
    assert.deepEqual(mac.state, { ...UNTOUCHED, routes: [["0.0.0.0/1", "-interface utun9"]] });
  });
});

Deno.test("MacExitClient goes on after kill -9, and after the machine started anew", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    await withClient(folder, mac, (client) => client.apply(SETTINGS, OWN));
    mac.dropInterface("utun4");
    await withClient(folder, mac, (client) => client.apply(SETTINGS, OWN));
    assert.equal(mac.references.size, 1);
    assert.equal(mac.routes.size, 6);
    mac.reboot();
    await withClient(folder, mac, (client) => client.apply(SETTINGS, OWN));
    assert.equal(mac.references.size, 1);
    mac.reboot();
    await withClient(folder, mac, (client) => client.remove());
    assert.deepEqual(mac.state, UNTOUCHED);
  });
});

/** Fails each command in turn, until `act` resolves to whether there was none left to fail. */
async function failEach(
  act: (folder: string, mac: FakeMac) => Promise<boolean>,
): Promise<number> {
  for (let failing = 0;; failing++) {
    const mac = new FakeMac();
    let isOver = false;
    await inFolder(async (folder) => {
      mac.failing = failing;
      isOver = await act(folder, mac);
    });
    if (isOver) return failing;
  }
}

Deno.test("MacExitClient is never open half, whatever fails, and everything can be undone", async () => {
  const steps = await failEach(async (folder, mac) => {
    const unexpected: string[] = [];
    mac.watch = (words) => {
      const isClosed = mac.anchors.has(ANCHOR) && mac.references.size > 0;
      if (!isClosed && words.includes("route -n add")) unexpected.push(words);
    };
    await withClient(folder, mac, async (client) => {
      const error = await client.apply(SETTINGS, OWN).then(
        ({ problem }) => problem,
        (error) => error,
      );
      if (error instanceof Error) {
        assert.ok(error instanceof MeshError && error.hint, String(error));
        assert.match(error.message, /^Cannot /);
      }
      // What was made is in the record, so that a daemon that starts later undoes it.
      const isUntouched = JSON.stringify(mac.state) === JSON.stringify(UNTOUCHED);
      assert.ok(isUntouched || await client.isApplied());
    });
    const isOver = mac.count <= mac.failing;
    mac.failing = -1;
    await withClient(folder, mac, (client) => client.remove());
    assert.deepEqual([unexpected, mac.state], [[], UNTOUCHED]);
    return isOver;
  });
  assert.ok(steps > 20, `${steps} steps`);
});

Deno.test("MacExitClient stays closed until everything else is undone, whatever fails", async () => {
  await failEach(async (folder, mac) => {
    const failing = mac.failing;
    mac.failing = -1;
    await withClient(folder, mac, (client) => client.apply(SETTINGS, OWN));
    mac.count = 0;
    mac.failing = failing;
    const unexpected: string[] = [];
    mac.watch = (words) => {
      const isOpening = words.endsWith("-F all") || words.includes("-X");
      if (isOpening && mac.routes.size > 0) unexpected.push(words);
    };
    await withClient(folder, mac, async (client) => {
      await client.remove().catch((error) => assert.match(error.message, /^Cannot /));
    });
    const isOver = mac.count <= failing;
    mac.failing = -1;
    await withClient(folder, mac, (client) => client.remove());
    assert.deepEqual([unexpected, mac.state], [[], UNTOUCHED]);
    return isOver;
  });
});

Deno.test("MacExitClient leaves pf alone and undoes a failure when a loss means direct", async () => {
  const settings = { ...SETTINGS, onLoss: "direct" as const };
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    mac.routes.set("192.0.2.1", "-gateway 10.9.9.9");
    await withClient(folder, mac, async (client) => {
      await assert.rejects(client.apply(settings, OWN), {
        message: /^Cannot change routes: 192\.0\.2\.1/,
      });
      assert.equal(await client.isApplied(), false);
      assert.deepEqual(mac.state.routes, [["192.0.2.1", "-gateway 10.9.9.9"]]);
      mac.routes.clear();
      assert.deepEqual(await client.apply(settings, OWN), { problem: null });
      assert.ok(!mac.told.some((words) => words.includes("pfctl")));
    });
  });
});

Deno.test("MacExitClient says what keeps traffic out of the tunnel, and stays closed", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    mac.routes.set("0.0.0.0/1", "-interface utun9");
    await withClient(folder, mac, async (client) => {
      const { problem } = await client.apply(SETTINGS, OWN);
      assert.match(problem!, /^Cannot change routes: 0\.0\.0\.0\/1 is not ours: File exists$/);
    });
    assert.ok(mac.anchors.has(ANCHOR));
  });
});

Deno.test("MacExitClient refuses a second context, a second daemon, and rules that call none of ours", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    mac.anchors.set("com.apple/000.tunnelmesh.exit.work", "");
    using client = await MacExitClient.open(folder, mac.run);
    await assert.rejects(client.apply(SETTINGS, OWN), {
      code: "config-invalid",
      message: "Cannot use an exit: context work uses one already",
    });
    await assert.rejects(MacExitClient.open(folder, mac.run), { code: "already-running" });
    mac.mainRules = "";
    await assert.rejects(client.apply(SETTINGS, OWN), { code: "unsupported" });
    assert.equal(await client.isApplied(), false);
    assert.deepEqual(mac.told, []);
  });
});

Deno.test("MacExitClient does nothing by a record that is not its own", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    const changes = [{ kind: "anchor", name: "com.apple/250.ApplicationFirewall" }];
    await Deno.writeTextFile(
      `${folder}/exit_client.json`,
      JSON.stringify({ version: 1, changes }),
    );
    using client = await MacExitClient.open(folder, mac.run);
    await assert.rejects(client.remove(), { code: "state-invalid", message: /^Cannot read / });
    assert.equal(mac.count, 0);
  });
});
