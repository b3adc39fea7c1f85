/**
 * What the kernel tells of a changing network, on a machine of the lab.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import type { Process } from "./lab/process.ts";
import { Lan } from "./lab/topology.ts";

/** More events than the socket's buffer holds. */
const FLOOD = 8_000;

/** A machine "a" with an interface `mesh0` of the mesh, watched. */
async function watch(
  test: (lan: Lan, process: Process, reported: () => string[]) => Promise<void>,
): Promise<void> {
  await using lan = await Lan.create(["a", "b"]);
  const { namespace } = lan.host("a");
  await addMesh(lan);
  await using process = namespace.deno("tests/e2e/lab/network_watch.ts", ["mesh0"], { input: "" });
  await process.waitForOutput(/^ready$/m);
  const reported = () => process.stdout.split("\n").slice(1).filter(Boolean);
  await test(lan, process, reported);
}

/** Adds `mesh0` with a carrier to the machine. */
async function addMesh(lan: Lan): Promise<void> {
  const peer = ["peer", "name", "v-mesh", "netns", lan.bridge.name];
  await lan.host("a").namespace.ip("link", "add", "mesh0", "type", "veth", ...peer);
  await lan.bridge.ip("link", "set", "v-mesh", "up");
}

labTest({
  name: "watchNetlink() tells of an address, the default route and a link, once each",
  run: () =>
    watch(async (lan, process, reported) => {
      const { namespace } = lan.host("a");
      await namespace.ip("address", "add", "192.0.2.7/32", "dev", "eth0");
      await process.waitForOutput(/^address new eth0 192\.0\.2\.7\/32$/m);
      // The same again, as when its lifetime is refreshed.
      await namespace.ip("address", "replace", "192.0.2.7/32", "dev", "eth0");
      await namespace.ip("address", "replace", "fd99::1/64", "dev", "eth0", "preferred_lft", "60");
      await namespace.ip("address", "del", "192.0.2.7/32", "dev", "eth0");
      await process.waitForOutput(/^address del eth0 192\.0\.2\.7\/32$/m);
      await namespace.ip("route", "del", "default");
      await process.waitForOutput(/^route del eth0 default \(IPv4\) via 10\.99\.0\.254$/m);
      assert.deepEqual(reported(), [
        "address new eth0 192.0.2.7/32",
        "address del eth0 192.0.2.7/32",
        "route del eth0 default (IPv4) via 10.99.0.254",
      ]);
      await lan.setLink("a", "down");
      await process.waitForOutput(/^link del eth0 down$/m);
      await lan.setLink("a", "up");
      await process.waitForOutput(/^link new eth0 up$/m);
      await namespace.ip("link", "set", "eth0", "mtu", "1400");
      await process.waitForOutput(/^link new eth0 MTU 1400$/m);
    }),
});

labTest({
  name: "watchNetlink() tells nothing of the mesh's own interface, old or new",
  run: () =>
    watch(async (lan, process, reported) => {
      const { namespace } = lan.host("a");
      const use = [
        "link set mesh0 up",
        "address add 100.64.0.1/32 dev mesh0",
        "address add fd42::1/128 dev mesh0 nodad",
        "route add 100.64.0.0/10 dev mesh0",
        "route add fd42::/48 dev mesh0",
        "link set mesh0 mtu 1280",
        "link set mesh0 down",
        "link del mesh0",
      ];
      await namespace.ipBatch(use);
      await addMesh(lan);
      await namespace.ipBatch(use);
      await namespace.ip("address", "add", "192.0.2.8/32", "dev", "eth0");
      await process.waitForOutput(/^address new eth0/m);
      assert.deepEqual(reported(), ["address new eth0 192.0.2.8/32"]);
    }),
});

labTest({
  name: "watchNetlink() says so when events were lost, and goes on",
  run: () =>
    watch(async (lan, process, reported) => {
      const { namespace } = lan.host("a");
      process.kill("SIGUSR1");
      await process.waitForOutput(/^stalled$/m);
      await namespace.ipBatch([
        "address add 192.0.2.9/32 dev eth0",
        ...Array.from({ length: FLOOD }, (_, i) => {
          return `route add 198.18.${i >> 8}.${i & 255}/32 dev eth0`;
        }),
      ]);
      await process.write("\n");
      await process.waitForOutput(/^link new {2}events were lost$/m);
      const before = reported().length;
      await namespace.ip("address", "replace", "192.0.2.9/32", "dev", "eth0");
      await namespace.ip("address", "add", "192.0.2.10/32", "dev", "eth0");
      await process.waitForOutput(/^address new eth0 192\.0\.2\.10\/32$/m);
      assert.deepEqual(reported().slice(before), ["address new eth0 192.0.2.10/32"]);
      assert.deepEqual(reported().filter((line) => line.startsWith("route")), []);
    }),
});
