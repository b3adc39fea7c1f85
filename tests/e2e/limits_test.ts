/**
 * A node whose process has given up what it does not need: it still puts everything back, and its
 * files are its owner's alone.
 * @module
 */
import { strict as assert } from "node:assert";
import { openToOthers, withOpenUmask } from "../file_modes.ts";
import { labTest } from "../skip.ts";
import { denoCommand } from "./lab/netns.ts";
import { waitFor } from "./lab/process.ts";
import { Lan } from "./lab/topology.ts";

const START_MS = 30_000;
const TARGET = "../run/stub/resolv.conf";

labTest({
  name: "a linked resolv.conf comes back, and all files are private under umask 0",
  run: async () => {
    await using lan = await Lan.create(["a"]);
    const { namespace, ip4 } = lan.host("a");
    const { directory } = namespace;
    await Deno.mkdir(`${directory}/run/stub`);
    await Deno.writeTextFile(`${directory}/run/stub/resolv.conf`, "nameserver 10.99.0.254\n");
    await Deno.remove(`${directory}/etc/resolv.conf`);
    await Deno.symlink(TARGET, `${directory}/etc/resolv.conf`);
    const link = () => Deno.readLink(`${directory}/etc/resolv.conf`).catch(() => null);

    const command = denoCommand("main.ts", ["up", "--name", "a", "--public-host", ip4]);
    await using up = namespace.spawn(withOpenUmask(command));
    await up.waitForOutput(/tunnelmesh join/, START_MS);
    await waitFor("our resolv.conf", async () => await link() === null ? true : null);
    const contexts = `${directory}/home/.tunnelmesh/contexts.json`;
    await waitFor("the context", () => Deno.stat(contexts).catch(() => null));
    const folders = ["lib/tunnelmesh", "home/.tunnelmesh"];
    for (const folder of folders) assert.deepEqual(openToOthers(`${directory}/${folder}`), []);
    const modes = await namespace.must([
      "stat",
      "-c",
      "%a %n",
      "/run/tunnelmesh",
      SOCKET,
      READ_ONLY,
    ]);
    assert.deepEqual(modes.trim().split("\n"), [
      "755 /run/tunnelmesh",
      `600 ${SOCKET}`,
      `666 ${READ_ONLY}`,
    ]);

    assert.equal((await up.stop()).code, 0);
    assert.equal(await link(), TARGET);
    for (const folder of folders) assert.deepEqual(openToOthers(`${directory}/${folder}`), []);
  },
});

labTest({
  name: "what a node with a state folder of its own left in resolv.conf is undone by another",
  run: async () => {
    await using lan = await Lan.create(["a"]);
    const { namespace, ip4 } = lan.host("a");
    const start = async (folder: string) => {
      const stateDir = `${namespace.directory}/home/${folder}`;
      const args = ["up", "--name", "a", "--public-host", ip4, "--state-dir", stateDir];
      args.push("--context", folder);
      const up = namespace.spawn(denoCommand("main.ts", args));
      await up.waitForOutput(/tunnelmesh join/, START_MS);
      await waitFor("the marker", async () => {
        const text = await namespace.readFile("/etc/resolv.conf");
        return text?.includes(`/${folder}/`) ? true : null;
      });
      return up;
    };
    const before = await namespace.readFile("/etc/resolv.conf");
    await using first = await start("one");
    first.killTree();
    await first.stop();
    await using second = await start("two");
    assert.equal((await second.stop()).code, 0);
    assert.equal(await namespace.readFile("/etc/resolv.conf"), before);
  },
});

const SOCKET = "/run/tunnelmesh/default.sock";
const READ_ONLY = "/run/tunnelmesh/default.ro.sock";
