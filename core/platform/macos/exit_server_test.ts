import { strict as assert } from "node:assert";
import { parsePrefix } from "../../ip.ts";
import type { ServerSettings } from "../../exit/server_plan.ts";
import { inFolder } from "../_folder.ts";
import { FakeMac } from "./_fake_mac.ts";
import { MacExitServer } from "./exit_server.ts";

const SETTINGS: ServerSettings = {
  context: "default",
  interfaceName: "utun4",
  meshPrefixes: [parsePrefix("172.30.0.0/16")!, parsePrefix("fd00:1::/48")!],
  isExit: true,
  routes: [],
};
const ANCHOR = "com.apple/000.tunnelmesh.gateway.default";
const UNTOUCHED = new FakeMac().state;

async function withServer(
  folder: string,
  mac: FakeMac,
  act: (server: MacExitServer) => Promise<void>,
): Promise<void> {
  using server = await MacExitServer.open(folder, mac.run);
  await act(server);
}

Deno.test("MacExitServer narrows down before it opens, and undoes that in turn", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    await withServer(folder, mac, async (server) => {
      await server.apply(SETTINGS);
      assert.deepEqual(mac.told, [
        `/sbin/pfctl -a ${ANCHOR} -f -`,
        "/sbin/pfctl -E",
        "/usr/sbin/sysctl -w net.inet.ip.forwarding=1",
        "/usr/sbin/sysctl -w net.inet6.ip6.forwarding=1",
      ]);
      mac.told = [];
      await server.remove();
      assert.deepEqual(mac.told, [
        "/usr/sbin/sysctl -w net.inet6.ip6.forwarding=0",
        "/usr/sbin/sysctl -w net.inet.ip.forwarding=0",
        `/sbin/pfctl -a ${ANCHOR} -F all`,
        "/sbin/pfctl -X 100",
      ]);
    });
    assert.deepEqual(mac.state, UNTOUCHED);
  });
});

Deno.test("MacExitServer puts back what was there, after kill -9 and a second start too", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    mac.sysctls.set("net.inet.ip.forwarding", "1");
    const before = mac.state;
    await withServer(folder, mac, (server) => server.apply(SETTINGS));
    await withServer(folder, mac, (server) => server.apply(SETTINGS));
    assert.equal(mac.references.size, 1);
    await withServer(folder, mac, (server) => server.remove());
    assert.deepEqual(mac.state, before);
  });
});

Deno.test("MacExitServer undoes everything when a step fails", async () => {
  for (let failing = 0, isOver = false; !isOver; failing++) {
    await inFolder(async (folder) => {
      const mac = new FakeMac();
      mac.failing = failing;
      await withServer(folder, mac, async (server) => {
        const failure = await server.apply(SETTINGS).then(() => null, (error) => error);
        isOver = mac.count <= failing;
        if (failure !== null) {
          assert.match(failure.message, /^Cannot /);
          assert.equal(await server.isApplied(), false);
          assert.deepEqual(mac.state, UNTOUCHED, `step ${failing}`);
        }
      });
    });
  }
});

Deno.test("MacExitServer refuses networks and changes nothing", async () => {
  await inFolder(async (folder) => {
    const mac = new FakeMac();
    const routes = [{ lan: parsePrefix("10.0.0.0/8")!, mapped: null, mayInitiate: false }];
    await withServer(folder, mac, async (server) => {
      await assert.rejects(server.apply({ ...SETTINGS, routes }), { code: "unsupported" });
    });
    assert.deepEqual([mac.told, mac.state], [[], UNTOUCHED]);
  });
});
