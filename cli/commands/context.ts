/**
 * `tunnelmesh context`: which meshes does this user's machine belong to, and which is meant?
 * @module
 */
import { z } from "zod";
import { parseCoordinatorUrl } from "../../core/config/units.ts";
import { MeshError } from "../../core/errors.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import type { NamedContext } from "../contexts.ts";
import { exists } from "../files.ts";
import { type Column } from "../format.ts";
import { absolutePath } from "../paths.ts";
import { usage } from "../parse.ts";

const READ: Permissions = { opens: ["$contexts"] };
const CHANGE: Permissions = { ...READ, read: ["$contexts"], write: ["$contexts"] };

const nameInput = z.string().min(1).meta({
  positional: 0,
  description: "Name of the context",
  completes: "contexts",
});

const create = defineCommand({
  name: "create",
  summary: "Make a context",
  description: "`tunnelmesh join --context NAME` makes one too.",
  examples: [
    {
      command: "tunnelmesh context create work -c ~/work.yaml",
      meaning: "A mesh whose configuration is in a file",
    },
    {
      command: "tunnelmesh context create work --server mesh.example.com",
      meaning: "A mesh of which only the coordinator is known",
    },
  ],
  input: z.strictObject({
    name: z.string().min(1).meta({ positional: 0, description: "Name of the context" }),
    server: z.string().optional().meta({ description: "Its coordinator", placeholder: "URL" }),
    force: z.boolean().default(false).meta({ alias: "f", description: "Replace one that exists" }),
  }),
  permissions: { ...CHANGE, read: ["$contexts", "$config"] },
  async run({ name, server, force }, { globals, host, out, contexts }) {
    const path = "tunnelmesh context create";
    const known = await contexts();
    if (known.has(name) && !force) {
      throw usage(path, `context "${name}" exists`, "Add --force to replace it");
    }
    const url = server === undefined ? null : parseCoordinatorUrl(server);
    if (url !== null && typeof url !== "string") {
      throw usage(path, `"${server}" names no coordinator: ${url.refusal}`);
    }
    const file = (value: string | null) => value === null ? null : absolutePath(host, value);
    const config = file(globals.config);
    if (config !== null && !exists(config)) {
      throw new MeshError("config-invalid", `Cannot use ${config}: there is no such file`, {
        hint: `\`tunnelmesh init --peer --output ${config}\` writes one`,
      });
    }
    known.put(name, {
      server: url,
      config,
      identity: file(globals.identity),
      stateDir: file(globals.stateDir),
      socket: null,
      node: null,
    });
    const created = known.get(name);
    out.document(created, () => [
      `Context "${name}" is made${created.isActive ? " and active" : ""}`,
      ...(created.isActive ? [] : [`\`tunnelmesh context use ${name}\` makes it active`]),
    ]);
  },
});

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the contexts; the active one has a star",
  permissions: READ,
  async run(_input, { out, contexts }) {
    const known = (await contexts()).list();
    if (known.length === 0 && !out.isJson) {
      return out.line("No contexts: `tunnelmesh up` and `tunnelmesh join` make one");
    }
    out.list(known, COLUMNS, (each) => [
      each.isActive ? out.green("*") : "",
      each.name,
      each.node ?? "-",
      each.server ?? "-",
      each.config ?? "-",
    ]);
  },
});

const use = defineCommand({
  name: "use",
  aliases: ["switch"],
  summary: "Make a context the active one",
  examples: [{ command: "tunnelmesh context use work", meaning: "Commands mean that mesh" }],
  input: z.strictObject({ name: nameInput }),
  permissions: CHANGE,
  async run({ name }, { out, contexts }) {
    const known = await contexts();
    known.use(name);
    out.document(known.get(name), () => [`Context "${name}" is active`]);
  },
});

const show = defineCommand({
  name: "show",
  aliases: ["get", "info"],
  summary: "Show a context, by default the active one",
  input: z.strictObject({ name: nameInput.optional().meta(nameInput.meta() ?? {}) }),
  permissions: READ,
  async run({ name }, { globals, out, contexts }) {
    const known = await contexts();
    const context = known.get(name ?? known.current(globals.context));
    out.document(context, () => contextLines(context));
  },
});

const remove = defineCommand({
  name: "delete",
  aliases: ["rm", "remove"],
  summary: "Forget a context; its files stay",
  description: "It does not leave the mesh: `tunnelmesh leave --context NAME` does.",
  input: z.strictObject({ name: nameInput }),
  permissions: CHANGE,
  async run({ name }, { out, contexts }) {
    (await contexts()).remove(name);
    out.document({ name, deleted: true }, () => [`Context "${name}" is forgotten`]);
  },
});

export const context: Command = defineGroup({
  name: "context",
  summary: "Switch between several meshes",
  subcommands: [create, list, use, show, remove],
});

const COLUMNS: readonly Column[] = [
  { title: "" },
  { title: "Name" },
  { title: "Node" },
  { title: "Coordinator", shrinksTo: 15 },
  { title: "Configuration", shrinksTo: 12 },
];

function contextLines(context: NamedContext): string[] {
  const rows: [string, string | null][] = [
    ["Name", context.name],
    ["Active", context.isActive ? "yes" : "no"],
    ["Node", context.node],
    ["Coordinator", context.server],
    ["Configuration", context.config],
    ["Identity", context.identity],
    ["State", context.stateDir],
    ["Socket", context.socket],
  ];
  return rows.map(([label, value]) => `${label.padEnd(13)}  ${value ?? "-"}`);
}
