import assert from "node:assert/strict";
import { StateDir } from "../core/daemon/state_dir.ts";
import { withFreePorts } from "./coordinator_ports.ts";
import { createProgress } from "./progress.ts";
import type { CoordinatorRunOptions } from "./run_options.ts";

Deno.test("a new mesh's coordinator takes free ports and keeps them", async () => {
  const path = await Deno.makeTempDir({ prefix: "tunnelmesh-ports-" });
  const warnings: string[] = [];
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  const stun = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const stunPort = (stun.addr as Deno.NetAddr).port;
  try {
    using state = await StateDir.open(path, { exclusive: true });
    const progress = { ...createProgress({} as never), warning: (w: string) => warnings.push(w) };
    const options = {
      listen: { host: "127.0.0.1", port },
      stunPort,
      dataDir: `${path}/data`,
      progress,
    } as unknown as CoordinatorRunOptions;
    const chosen = await withFreePorts(state, options);
    assert.ok(chosen.listen.port > port && chosen.stunPort > stunPort);
    assert.match(warnings[0]!, new RegExp(`^Port ${port} is in use`));
    // Once there is a mesh, its nodes know the port.
    await Deno.mkdir(`${path}/data`);
    await Deno.writeTextFile(`${path}/data/state.db`, "");
    taken.close();
    stun.close();
    const again = await withFreePorts(state, options);
    assert.deepEqual([again.listen, again.stunPort], [chosen.listen, chosen.stunPort]);
    const other = await withFreePorts(state, { ...options, stunPort: stunPort - 1 });
    assert.deepEqual([other.listen.port, other.stunPort], [port, stunPort - 1]);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});
