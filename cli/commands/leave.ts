/**
 * `tunnelmesh leave`: this machine is no longer a node of the mesh.
 * @module
 */
import { defineCommand } from "../command.ts";

export const leave = defineCommand({
  name: "leave",
  summary: "Leave the mesh and give name and address back",
  description:
    "The daemon tells the coordinator and ends; the identity key stays. To only disconnect, stop " +
    "the daemon instead: it reconnects as the same node. Joining again after leaving needs a token.",
  examples: [
    { command: "sudo tunnelmesh leave", meaning: "Leave the active context's mesh" },
    { command: "sudo tunnelmesh leave --context work", meaning: "Leave another one" },
  ],
  permissions: {
    opens: ["$control", "$contexts"],
    read: ["$contexts"],
    write: ["$contexts"],
  },
  async run(_input, { globals, host, out, daemon, contexts }) {
    using client = await daemon();
    const { name, meshId } = await client.status();
    await client.leave();
    const known = await contexts();
    const context = known.current(globals.context);
    const { Contexts } = await import("../contexts.ts");
    const saved = Contexts.load(host);
    if (saved.has(context)) saved.remove(context);
    out.document({ left: true, name, meshId, context }, () => [`${name} has left mesh ${meshId}`]);
  },
});
