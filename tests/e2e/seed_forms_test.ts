import assert from "node:assert/strict";
import type { StatusReport } from "../../core/daemon/api_types.ts";
import { labTest } from "../skip.ts";
import type { Namespace } from "./lab/netns.ts";
import { prefetch, spawnTunnelmesh, tunnelmesh } from "./lab/node.ts";
import { type Output, waitFor } from "./lab/process.ts";
import { Lan } from "./lab/topology.ts";
import { waitForPing } from "./lab/traffic.ts";

const INVITATION = /tunnelmesh join (https:\/\/\S+) --token (tm2_\S+)/;
const START_MS = 30_000;

labTest({
  name: "init, serve -c and join with files, --server and --context as in the seeds",
  run: async () => {
    await prefetch();
    await using lan = await Lan.create(["c", "p", "q"]);
    const [c, p, q] = ["c", "p", "q"].map((label) => lan.host(label).namespace);

    // A coordinator alone, from the file that init wrote with the lines a person would change.
    done(await run(c!, "init", "--server", "--output", home(c!)));
    const server = await edit(c!, "server.yaml", {
      "public_hosts": `["${lan.host("c").ip4}"]`,
    });
    await using coordinator = spawnTunnelmesh(c!, ["serve", "-c", server]);
    const [, url, token] = await coordinator.waitForOutput(INVITATION, START_MS);

    // The first node, from a peer file in the seeds' shape: it becomes the admin.
    const peer = await write(p!, "peer.yaml", `name: p\nserver: ${url}\nauth_token: ${token}\n`);
    await using _first = spawnTunnelmesh(p!, ["join", "--config", peer]);
    const first = await status(p!);
    assert.equal(first.isAdmin, true);
    assert.deepEqual(first.peers, []);

    // The second, by host and token, as a context of its own name.
    const created = await run(p!, "token", "create", "--json");
    const second = JSON.parse(done(created)).token;
    await using _second = spawnTunnelmesh(q!, [
      ...["join", "--server", lan.host("c").ip4, "--token", second],
      ...["--context", "office", "--name", "q"],
    ]);
    await waitForPing(p!, "q.mesh", { timeoutMs: START_MS });
    await waitFor("the context", async () => /office/.test(done(await run(q!, "context", "list"))));
    done(await run(q!, "context", "use", "office"));
    assert.equal((await status(q!)).context, "office");
    assert.match(done(await run(q!, "resolve", "p")), /172\.30\.0\.\d+/);
    assert.match(done(await run(q!, "version")), /tunnelmesh \d+\.\d+/);
    done(await run(q!, "leave"));
    await waitFor("q to be gone", async () => (await status(p!)).peers.length === 0);
  },
});

labTest({
  name: "join --config with an enabled coordinator makes a mesh as up does",
  run: async () => {
    await prefetch();
    await using lan = await Lan.create(["c"]);
    const machine = lan.host("c").namespace;
    const file = await write(
      machine,
      "coordinator.yaml",
      `name: hub\ncoordinator:\n  enabled: true\n  public_hosts: ["${lan.host("c").ip4}"]\n`,
    );
    await using node = spawnTunnelmesh(machine, ["join", "--config", file]);
    await node.waitForOutput(INVITATION, START_MS);
    const report = await status(machine);
    assert.equal(report.name, "hub");
    assert.equal(report.isAdmin, true);
  },
});

function run(machine: Namespace, ...args: string[]): Promise<Output> {
  return tunnelmesh(machine, args);
}

/** Its standard output; it must have succeeded. */
function done(output: Output): string {
  assert.equal(output.code, 0, output.stdout + output.stderr);
  return output.stdout;
}

function home(machine: Namespace): string {
  return `${machine.directory}/home`;
}

async function write(machine: Namespace, name: string, text: string): Promise<string> {
  const path = `${home(machine)}/${name}`;
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  return path;
}

/** Sets keys of a file in which init left every key as a comment. */
async function edit(
  machine: Namespace,
  name: string,
  changes: Record<string, string>,
): Promise<string> {
  let text = await Deno.readTextFile(`${home(machine)}/${name}`);
  for (const [key, value] of Object.entries(changes)) {
    const line = new RegExp(`^#? ?${key}:.*$`, "m");
    assert.match(text, line, `${name} tells of ${key}`);
    text = text.replace(line, `${key}: ${value}`);
  }
  return await write(machine, name, text);
}

function status(machine: Namespace): Promise<StatusReport> {
  return waitFor("a status", async () => {
    const output = await run(machine, "status", "--json");
    return output.code === 0 ? JSON.parse(output.stdout) as StatusReport : null;
  }, { timeoutMs: START_MS });
}
