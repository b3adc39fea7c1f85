/**
 * `tunnelmesh up`: a mesh with one command, or back into the one this machine belongs to.
 * @module
 */
import { z } from "zod";
import { defineCommand } from "../command.ts";
import {
  coordinatorFlags,
  coordinatorOptions,
  nodeFlags,
  nodeOptions,
} from "../setting_options.ts";
import { nodePermissions } from "../run_permissions.ts";
import { NODE_PERMISSIONS, prepareNode, runPrepared } from "../start.ts";

export const up = defineCommand({
  name: "up",
  summary: "Make a mesh on this machine, or reconnect to the one it belongs to",
  description:
    "Without any configuration it makes an identity, a mesh, a coordinator and this node, and " +
    "prints the line that makes another machine join. It runs in the foreground until Ctrl-C, " +
    "which undoes every change to the system.",
  examples: [
    { command: "sudo tunnelmesh up", meaning: "Make a mesh whose coordinator is this machine" },
    {
      command: "sudo tunnelmesh up --public-host mesh.example.com --name hub",
      meaning: "The same on a server that others reach by a name",
    },
    {
      command: "sudo tunnelmesh up --cidr 10.77.0.0/16 --listen :443",
      meaning: "Choose the mesh's addresses and the coordinator's port",
    },
  ],
  input: z.strictObject({
    ...nodeOptions,
    ...coordinatorOptions("coordinator."),
    foreground: z.boolean().default(false).meta({
      description: "Stay in the foreground, which it always does; for service files",
    }),
  }),
  permissions: NODE_PERMISSIONS,
  async prepare(input, context) {
    const files = await context.config();
    const loaded = await files.loadPeer({
      ...nodeFlags(input),
      ...coordinatorFlags(input, "coordinator.", context),
    });
    return await prepareNode(loaded, context);
  },
  permissionsFor: nodePermissions,
  run: (_input, _context, prepared) => runPrepared(prepared),
});
