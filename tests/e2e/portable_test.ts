import assert from "node:assert/strict";
import type { StatusReport } from "../../core/daemon/api_types.ts";
import { bundle } from "../../scripts/bundle.ts";
import { buildPortable } from "../../scripts/portable.ts";
import { fetchRuntime, hostTarget } from "../../scripts/runtimes.ts";
import { labTest } from "../skip.ts";
import { waitFor } from "./lab/process.ts";
import { Lan } from "./lab/topology.ts";
import { waitForPing } from "./lab/traffic.ts";

const START_MS = 60_000;
const NOBODY = 65534;

labTest({
  name: "two machines with nothing but the portable file make a mesh",
  run: async () => {
    const [runtime, files] = await Promise.all([fetchRuntime(hostTarget()!), bundle()]);
    const folder = await Deno.makeTempDir({ prefix: "tunnelmesh-portable-" });
    const program = `${folder}/tunnelmesh`;
    try {
      await Deno.writeFile(program, buildPortable({ version: "0.0.0", runtime, files, level: 1 }));
      await Deno.chmod(program, 0o755);
      await using lan = await Lan.create(["a", "b"]);
      const [a, b] = [lan.host("a"), lan.host("b")];
      await using up = a.namespace.spawn([
        program,
        "up",
        "--name",
        "a",
        "--public-host",
        a.ip4,
      ]);
      const [, url, token] = await up.waitForOutput(
        /tunnelmesh join (https:\/\/\S+) --token (tm2_\S+)/,
        START_MS,
      );
      await using _join = b.namespace.spawn([
        program,
        "join",
        url!,
        "--token",
        token!,
        "--name",
        "b",
      ]);
      await waitForPing(b.namespace, "a.mesh", { timeoutMs: START_MS });
      const status = await waitFor("the status of b", async () => {
        const output = await b.namespace.run([program, "status", "--json"]);
        return output.code === 0 ? JSON.parse(output.stdout) as StatusReport : null;
      });
      assert.equal(status.name, "b");
      assert.equal(status.peers[0]?.link, "udp");

      // Anyone on the machine may look, and change nothing.
      const home = `${folder}/home`;
      await Deno.mkdir(home);
      await Deno.chmod(folder, 0o755);
      await Deno.chown(home, NOBODY, NOBODY);
      const asNobody = (...args: string[]) =>
        b.namespace.run([
          ...["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"],
          ...["env", `HOME=${home}`, program, ...args],
        ]);
      const seen = await asNobody("status", "--json");
      assert.equal(seen.code, 0, seen.stderr);
      assert.equal(JSON.parse(seen.stdout).name, "b");
      const refused = await asNobody("leave");
      assert.equal(refused.code, 1, refused.stdout);
      assert.match(refused.stderr, /sudo/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
