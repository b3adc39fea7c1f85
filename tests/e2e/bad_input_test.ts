/**
 * Wrong input on the command line: each ends at once with a stated exit status and says what to do.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { decodeToken, encodeToken } from "../../core/identity/token.ts";
import { meshTest } from "./lab/mesh.ts";
import { Namespace } from "./lab/netns.ts";
import { Node, prefetch, tunnelmesh } from "./lab/node.ts";
import type { Output } from "./lab/process.ts";

meshTest({
  name: "join refuses wrong, foreign, used, revoked and expired tokens, and says so",
  mesh: { nodes: [] },
  run: async (mesh) => {
    const { url, token } = mesh.coordinator.invitation!;
    const stranger = (await mesh.lan.add("x")).namespace;
    const join = (text: string, ...args: string[]) =>
      tunnelmesh(stranger, ["join", url, "--token", text, ...args]);
    const create = (...args: string[]) =>
      mesh.coordinator.cliJson<{ id: string; token: string }>("token", "create", ...args);

    refused(await join("nonsense"), 4, /token/i);
    const parts = decodeToken(token);
    const wrongSecret = encodeToken({ ...parts, secret: new Uint8Array(16).fill(7) });
    refused(await join(wrongSecret), 4, /token/i);
    const otherMesh = encodeToken({ ...parts, caPin: new Uint8Array(32).fill(7) });
    refused(await join(otherMesh), 4, /certificate|coordinator/i);

    const expired = await create("--expires", "1s");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    refused(await join(expired.token), 4, /expired/i);
    const single = await create();
    await using guest = await Node.join(await mesh.lan.add("g"), { url, token: single.token });
    assert.equal((await guest.mustStatus()).name, "g");
    refused(await join(single.token), 4, /used/i);
    const revoked = await create();
    await mesh.coordinator.cliJson("token", "revoke", "--", revoked.id);
    refused(await join(revoked.token), 4, /revoked/i);
    assert.doesNotMatch(await stranger.must(["ip", "-o", "link"]), /tun/);
  },
});

meshTest({
  name: "join without a coordinator to reach ends with exit status 3",
  mesh: { nodes: [] },
  run: async (mesh) => {
    const stranger = (await mesh.lan.add("x")).namespace;
    const { token } = mesh.coordinator.invitation!;
    const url = `https://${mesh.lan.host("c").ip4}:8444`;
    refused(await tunnelmesh(stranger, ["join", url, "--token", token]), 3, /reach|connect/i);
  },
});

labTest({
  name: "configuration with unknown keys or malformed YAML is refused by name and line",
  run: async () => {
    await prefetch();
    await using machine = await Namespace.create("x");
    const withConfig = async (text: string, command: string) => {
      await Deno.writeTextFile(`${machine.directory}/home/bad.yaml`, text);
      return await tunnelmesh(machine, [command, "-c", `${machine.directory}/home/bad.yaml`]);
    };
    for (const command of ["up", "join"]) {
      refused(await withConfig("nmae: anna\n", command), 2, /nmae[\s\S]*name/);
      refused(await withConfig("name: [a\nudp_port: 1\n", command), 2, /line|:\d/i);
      refused(await withConfig("udp_port: 70000\n", command), 2, /udp_port/);
    }
    refused(await tunnelmesh(machine, ["jion"]), 2, /join/);
    refused(await tunnelmesh(machine, ["join", "--toke", "x"]), 2, /--token/);
    refused(await tunnelmesh(machine, ["status"]), 3, /daemon|running|up/i);
  },
});

/** The command ended with that status and one clear text on standard error. */
function refused(output: Output, code: number, message: RegExp): void {
  const shown = `exit ${output.code}\n${output.stdout}${output.stderr}`;
  assert.equal(output.code, code, shown);
  assert.match(output.stderr, message, shown);
  assert.doesNotMatch(output.stderr, /\n\s+at .*\.ts:\d+/, `no stack trace: ${shown}`);
}
