/**
 * `tunnelmesh exit-node`: through which peer does this machine reach the internet?
 * @module
 */
import { z } from "zod";
import { ON_EXIT_LOSS } from "../../core/exit/client_plan.ts";
import { MeshError } from "../../core/errors.ts";
import {
  type Command,
  type CommandContext,
  defineCommand,
  defineGroup,
  type Permissions,
} from "../command.ts";
import { EXIT_COLUMNS, exitLines, exitRow } from "../exit_view.ts";
import { exists } from "../files.ts";
import { usage } from "../parse.ts";
import { stateDir } from "../paths.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the exits of the mesh",
  examples: [{
    command: "tunnelmesh exit-node list",
    meaning: "Who offers to be one, and is there?",
  }],
  permissions: PERMISSIONS,
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const { exits } = await client.exits();
    if (exits.length === 0 && !out.isJson) {
      return out.line("No exits: start a node with --allow-exit-traffic to have one");
    }
    out.list(exits, EXIT_COLUMNS, (exit) => exitRow(exit, out));
  },
});

const use = defineCommand({
  name: "use",
  summary: "Reach the internet through a peer",
  description:
    "Several names, the most wanted first, are tried in their order. The choice is kept over " +
    "restarts until `exit-node off`, or until the configuration says something else.",
  examples: [
    { command: "tunnelmesh exit-node use home", meaning: "Through home, or not at all" },
    {
      command: "tunnelmesh exit-node use home,office --on-exit-loss next",
      meaning: "Through the office while home is away",
    },
    {
      command: "tunnelmesh exit-node use home --exit-lan",
      meaning: "With the printer of the hotel within reach",
    },
  ],
  input: z.strictObject({
    names: z.string().min(1).meta({
      positional: 0,
      placeholder: "NAME[,NAME]",
      description: "Peers that offer to be exits",
      completes: "peers",
    }),
    onExitLoss: z.enum(ON_EXIT_LOSS).optional().meta({
      description: "What happens when the exit is lost: hold traffic back, go past the mesh, or " +
        "take the next in the list",
    }),
    exitLan: z.boolean().default(false).meta({ description: "Reach the own LAN directly" }),
    noExitLan: z.boolean().default(false).meta({ description: "Do not reach the own LAN" }),
  }),
  permissions: PERMISSIONS,
  async run({ names, onExitLoss, exitLan, noExitLan }, { out, daemon }) {
    if (exitLan && noExitLan) {
      throw usage("tunnelmesh exit-node use", "--exit-lan and --no-exit-lan are given");
    }
    const exits = names.split(",").map((name) => name.trim()).filter((name) => name !== "");
    if (exits.length === 0) throw usage("tunnelmesh exit-node use", "no exit is named");
    using client = await daemon();
    const report = await client.useExits({
      exits,
      ...onExitLoss ? { onLoss: onExitLoss } : {},
      ...exitLan ? { lan: true } : noExitLan ? { lan: false } : {},
    });
    out.document(report, () => exitLines(report, out));
  },
});

const off = defineCommand({
  name: "off",
  summary: "Reach the internet without an exit again",
  description:
    "While the daemon does not run, root opens with it a kill switch that a daemon left closed " +
    "when it was killed.",
  examples: [
    { command: "tunnelmesh exit-node off", meaning: "As if there were no mesh" },
    { command: "sudo tunnelmesh exit-node off", meaning: "The same without the daemon" },
  ],
  permissions: PERMISSIONS,
  prepare: (_input, context) => stateDirWithoutDaemon(context),
  permissionsFor: (folder): Permissions => {
    if (folder === null) return {};
    const paths = [folder as `/${string}`];
    const read = [...paths, ...SYSTEM];
    return { read, write: paths, run: true, ffi: true, sys: true, env: true };
  },
  async run(_input, { out, daemon }, folder) {
    if (folder === null) {
      using client = await daemon();
      const report = await client.useExits({ exits: [] });
      return out.document(report, () => exitLines(report, out));
    }
    const { openExit } = await import("../../core/daemon/exit_off.ts");
    const wasClosed = await openExit(folder);
    out.document({ state: "off", wasClosed }, () => [
      wasClosed ? "The kill switch is open" : "No kill switch was closed",
    ]);
  },
});

/** Where programs and the settings of the kernel are. */
const SYSTEM = ["/usr", "/sbin", "/bin"] as const;

/** The state folder of a context whose daemon does not run, for root; else null. */
async function stateDirWithoutDaemon(context: CommandContext): Promise<string | null> {
  const { host, globals } = context;
  if (!host.isRoot) return null;
  try {
    await (await context.daemon()).exits();
    return null;
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== "daemon-unreachable") return null;
    const contexts = await context.contexts();
    const name = contexts.current(globals.context);
    const folder = contexts.entry(name).stateDir ?? stateDir(host, name);
    return exists(folder) ? folder : null;
  }
}

const status = defineCommand({
  name: "status",
  summary: "Tell where traffic to the internet goes",
  examples: [{ command: "tunnelmesh exit-node status", meaning: "And why it does not, if so" }],
  permissions: PERMISSIONS,
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const report = await client.exits();
    out.document(report, () => exitLines(report, out));
  },
});

export const exitNode: Command = defineGroup({
  name: "exit-node",
  summary: "Reach the internet through a peer",
  subcommands: [list, use, off, status],
});
