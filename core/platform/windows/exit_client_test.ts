import { strict as assert } from "node:assert";
import { MeshError } from "../../errors.ts";
import type { ClientExitSettings } from "../../exit/client_plan.ts";
import { inFolder } from "../_folder.ts";
import { FakeWindows } from "./_fake_windows.ts";
import { WindowsExitClient } from "./exit_client.ts";

const SETTINGS: ClientExitSettings = {
  context: "default",
  interfaceName: "tunnelmesh",
  mark: 0,
  table: 0,
  priority: 0,
  udpPorts: [51820],
  tcpPorts: [],
  endpoints: [{ ip: "192.0.2.1", protocol: "tcp", port: 8443 }],
  otherMeshes: [],
  lanPrefixes: [],
  ipv4: true,
  ipv6: false,
  onLoss: "block",
};
const OWN = { addresses: ["172.30.0.5"], resolver: "172.30.0.5" };
const UNTOUCHED = new FakeWindows().state;
const ROUTES = [
  "interface ipv4 add route prefix=192.0.2.1/32 interface=12 nexthop=192.168.1.1 metric=0 store=active",
  "interface ipv6 add route prefix=::/1 interface=1 metric=0 store=active",
  "interface ipv6 add route prefix=8000::/1 interface=1 metric=0 store=active",
  "names 172.30.0.5",
  "interface ipv4 add route prefix=0.0.0.0/1 interface=21 metric=0 store=active",
  "interface ipv4 add route prefix=128.0.0.0/1 interface=21 metric=0 store=active",
];

/** A daemon that lives for one call. */
async function withClient<T>(
  folder: string,
  system: FakeWindows,
  act: (client: WindowsExitClient) => Promise<T>,
): Promise<T> {
  using client = await WindowsExitClient.open(folder, system.run);
  return await act(client);
}

/** Commands about the firewall, without names. */
function shortened(told: readonly string[]) {
  return told.map((words) => words.replace(/^advfirewall firewall (\w+) rule name=.*/, "$1 rule"));
}

Deno.test("WindowsExitClient closes the kill switch first and opens it last", async () => {
  await inFolder(async (folder) => {
    const system = new FakeWindows();
    await withClient(folder, system, async (client) => {
      assert.deepEqual(await client.apply(SETTINGS, OWN), { problem: null });
      const count = system.rules.size;
      const rules = (verb: string) => Array<string>(count).fill(`${verb} rule`);
      assert.ok(count > 5);
      assert.deepEqual(shortened(system.told), [...rules("add"), ...ROUTES]);
      system.told = [];
      await client.remove(() => Promise.resolve(void system.told.push("(not yet open)")));
      const undone = ROUTES.toReversed().map((words) =>
        words.startsWith("names")
          ? "names back"
          : words.replace("add", "delete").replace(/ nexthop=\S+/, "").replace(" metric=0", "")
      );
      const expected = undone.map((words) =>
        words.includes("192.0.2.1") ? words.replace("=12", "=12 nexthop=192.168.1.1") : words
      );
      assert.deepEqual(shortened(system.told), [...expected, "(not yet open)", ...rules("delete")]);
      assert.equal(await client.isApplied(), false);
    });
    assert.deepEqual(system.state, UNTOUCHED);
  });
});

Deno.test("WindowsExitClient adds new rules before it removes old ones, and keeps the same", async () => {
  await inFolder(async (folder) => {
    const system = new FakeWindows();
    await withClient(folder, system, async (client) => {
      await client.apply(SETTINGS, OWN);
      system.told = [];
      const second = { ip: "192.0.2.2", protocol: "tcp" as const, port: 22 };
      const endpoints = [...SETTINGS.endpoints, second];
      await client.apply({ ...SETTINGS, endpoints }, OWN);
      assert.deepEqual(shortened(system.told), [
        ...Array<string>(4).fill("add rule"),
        "delete rule",
        ROUTES[0]!.replace("192.0.2.1", "192.0.2.2"),
      ]);
      await client.remove();
    });
    assert.deepEqual(system.state, UNTOUCHED);
  });
});

Deno.test("WindowsExitClient undoes after kill -9 and a new start of the machine", async () => {
  for (const happens of ["dropTunnel", "reboot"] as const) {
    await inFolder(async (folder) => {
      const system = new FakeWindows();
      await withClient(folder, system, (client) => client.apply(SETTINGS, OWN));
      system[happens]();
      assert.ok(system.rules.size > 5, "it stays closed");
      system.routes.set("ipv4 0.0.0.0/1", "12 10.0.0.9");
      await withClient(folder, system, async (client) => {
        assert.equal(await client.isApplied(), true);
        await client.remove();
      });
      assert.deepEqual(system.state, { ...UNTOUCHED, routes: [["ipv4 0.0.0.0/1", "12 10.0.0.9"]] });
    });
  }
});

Deno.test("WindowsExitClient says what keeps traffic out of the tunnel, and stays closed", async () => {
  await inFolder(async (folder) => {
    const system = new FakeWindows();
    system.hasTunnel = false;
    await withClient(folder, system, async (client) => {
      const { problem } = await client.apply(SETTINGS, OWN);
      assert.match(problem!, /^Cannot lead 0\.0\.0\.0\/1 its way: Falsches System/);
      assert.ok(system.rules.size > 5);
      system.hasTunnel = true;
      assert.deepEqual(await client.apply(SETTINGS, OWN), { problem: null });
    });
  });
});

Deno.test("WindowsExitClient is never open half, whatever fails, and everything can be undone", async () => {
  let rules = 0;
  await inFolder(async (folder) => {
    const system = new FakeWindows();
    await withClient(folder, system, (client) => client.apply(SETTINGS, OWN));
    rules = system.rules.size;
  });
  for (let failing = 0, isOver = false; !isOver; failing++) {
    await inFolder(async (folder) => {
      const system = new FakeWindows();
      const unexpected: string[] = [];
      system.failing = failing;
      system.watch = (words) => {
        if (words.includes("add route") && system.rules.size < rules) unexpected.push(words);
      };
      await withClient(folder, system, async (client) => {
        const error = await client.apply(SETTINGS, OWN).then(() => null, (error) => error);
        if (error !== null) {
          assert.ok(error instanceof MeshError && error.hint, String(error));
          assert.match(error.message, /^Cannot /);
        }
        const isUntouched = JSON.stringify(system.state) === JSON.stringify(UNTOUCHED);
        assert.ok(isUntouched || await client.isApplied());
      });
      isOver = system.count <= failing;
      system.failing = -1;
      await withClient(folder, system, (client) => client.remove());
      assert.deepEqual([unexpected, system.state], [[], UNTOUCHED], `step ${failing}`);
    });
  }
});

Deno.test("WindowsExitClient stays closed until everything else is undone, whatever fails", async () => {
  for (let failing = 0, isOver = false; !isOver; failing++) {
    await inFolder(async (folder) => {
      const system = new FakeWindows();
      await withClient(folder, system, (client) => client.apply(SETTINGS, OWN));
      const unexpected: string[] = [];
      system.count = 0;
      system.failing = failing;
      system.watch = (words) => {
        const isOpening = words.includes("delete rule");
        if (isOpening && system.routes.size > 0) unexpected.push(words);
      };
      await withClient(folder, system, async (client) => {
        await client.remove().catch((error) => assert.match(error.message, /^Cannot /));
      });
      isOver = system.count <= failing;
      system.failing = -1;
      await withClient(folder, system, (client) => client.remove());
      assert.deepEqual([unexpected, system.state], [[], UNTOUCHED], `step ${failing}`);
    });
  }
});

Deno.test("WindowsExitClient refuses a firewall that is off, and needs none when a loss means direct", async () => {
  await inFolder(async (folder) => {
    const system = new FakeWindows();
    system.profiles = [{ Name: "Public", Enabled: 0, AllowLocalFirewallRules: 2 }];
    await withClient(folder, system, async (client) => {
      await assert.rejects(client.apply(SETTINGS, OWN), {
        code: "unsupported",
        message: "Cannot close the way past the exit: it is off in the profile Public",
      });
      assert.deepEqual([system.told, await client.isApplied()], [[], false]);
      const direct = { ...SETTINGS, onLoss: "direct" as const };
      assert.deepEqual(await client.apply(direct, OWN), { problem: null });
      assert.deepEqual(system.told, ROUTES);
      system.routes.set("ipv4 192.0.2.2/32", "12 10.0.0.9");
      const second = { ip: "192.0.2.2", protocol: "tcp" as const, port: 22 };
      await assert.rejects(client.apply({ ...direct, endpoints: [second] }, OWN));
      const state = { ...UNTOUCHED, routes: [["ipv4 192.0.2.2/32", "12 10.0.0.9"]] };
      assert.deepEqual([system.state, await client.isApplied()], [state, false]);
    });
  });
});

Deno.test("WindowsExitClient tells nothing of IPv6 where it is switched off", async () => {
  await inFolder(async (folder) => {
    const system = new FakeWindows();
    system.hasIpv6 = false;
    await withClient(folder, system, async (client) => {
      assert.deepEqual(await client.apply(SETTINGS, OWN), { problem: null });
      assert.ok(!system.told.some((words) => words.startsWith("interface ipv6")));
      await client.remove();
    });
    assert.deepEqual(system.state, UNTOUCHED);
  });
});
