/**
 * `tunnelmesh serve`: a coordinator, and a node beside it where the file asks for one.
 * @module
 */
import { z } from "zod";
import { defineCommand } from "../command.ts";
import { SUPERVISED } from "../coordinator_process.ts";
import { absolutePath } from "../paths.ts";
import { resolveCoordinator, resolveNode } from "../resolve_options.ts";
import { coordinatorFlags, coordinatorOptions } from "../setting_options.ts";
import type { NodeRunOptions } from "../run_options.ts";
import { coordinatorPermissions, nodePermissions } from "../run_permissions.ts";
import { COORDINATOR_PERMISSIONS, othersOf, surroundingsOf } from "../start.ts";

const Input = z.strictObject(coordinatorOptions(""));

export const serve = defineCommand({
  name: "serve",
  summary: "Run a coordinator",
  description:
    "A coordinator introduces nodes to each other and hands out addresses; it never holds a key " +
    "that opens traffic, and nodes go on without it. With `join_mesh` in its file, a node runs " +
    "beside it. Files are looked for in ./server.yaml, ./tunnelmesh-server.yaml and " +
    "/etc/tunnelmesh/server.yaml.",
  examples: [
    { command: "sudo tunnelmesh serve -c server.yaml", meaning: "Take everything from a file" },
    {
      command: "tunnelmesh serve --data-dir ./mesh --listen 127.0.0.1:8443",
      meaning: "A coordinator without root, e.g. to try it",
    },
    {
      command:
        "sudo tunnelmesh serve --public-host mesh.example.com --cert chain.pem --key key.pem",
      meaning: "With a public certificate, so that tokens need no pin",
    },
  ],
  input: Input,
  permissions: COORDINATOR_PERMISSIONS,
  async prepare(input, context) {
    const { host, globals } = context;
    const loaded = await (await context.config()).loadServer(coordinatorFlags(input, "", context));
    const { config } = loaded;
    let node: NodeRunOptions | null = null;
    const surroundings = await surroundingsOf(
      context,
      // A server file is no configuration for `join`, so the context does not name it.
      () => node && { options: node, config: null },
    );
    const coordinator = resolveCoordinator(
      { ...loaded, config: config.coordinator },
      config.logLevel,
      surroundings,
    );
    const others = {
      isFollower: false,
      ...othersOf(surroundings.contexts, coordinator.context),
    };
    if (!config.joinMesh) {
      // Its packages look into the environment when they are loaded, and never again.
      await import("../coordinator_main.ts");
      return { node, coordinator, ...others };
    }
    const chosen = (path: string | null, fallback: string | null) =>
      path === null ? fallback : absolutePath(host, path);
    node = resolveNode({
      ...loaded,
      config: {
        ...config.joinMesh,
        identity: chosen(globals.identity, config.joinMesh.identity),
        stateDir: chosen(globals.stateDir, config.joinMesh.stateDir),
      },
    }, surroundings);
    return { node, coordinator, ...others };
  },
  permissionsFor: ({ node, ...others }, context) =>
    node
      ? nodePermissions({ node, ...others }, context)
      : coordinatorPermissions(others.coordinator),
  async run(_input, { host }, { node, coordinator, usedCidrs }) {
    if (!node) {
      const { startCoordinator } = await import("../coordinator_main.ts");
      return await startCoordinator(coordinator, host.env[SUPERVISED] !== undefined);
    }
    const { runUp } = await import("../compose.ts");
    const { context, logLevel, progress } = coordinator;
    await runUp({ context, logLevel, progress, node, coordinator, usedCidrs });
  },
});
