/**
 * `tunnelmesh transport`: which kinds of path may be used for a peer?
 * @module
 */
import { z } from "zod";
import { PATH_KINDS, type PathKind } from "../../core/path/address.ts";
import { DEFAULT_PREFERENCE, type PathPreference } from "../../core/path/peer_paths.ts";
import { MeshError } from "../../core/errors.ts";
import { defineCommand } from "../command.ts";
import type { ControlClient } from "../control_client.ts";

const kind = z.enum(PATH_KINDS);

export const transport = defineCommand({
  name: "transport",
  summary: "Choose the kinds of path to a peer",
  description:
    "Kinds are udp, ssh, node (through another node) and relay (through a coordinator). What " +
    "should outlive the daemon belongs into the configuration, under transports. With --on an " +
    "admin chooses for another node, by the mesh's log; a choice at the node itself wins over it.",
  examples: [
    { command: "tunnelmesh transport nas", meaning: "What may be used for nas?" },
    { command: "tunnelmesh transport nas --exclude udp", meaning: "Anything but UDP" },
    { command: "tunnelmesh transport nas --prefer relay", meaning: "The relay, if it works" },
    { command: "tunnelmesh transport nas --reset", meaning: "As it is without a choice here" },
    {
      command: "tunnelmesh transport nas --on laptop --exclude udp",
      meaning: "As an admin: how laptop reaches nas",
    },
  ],
  input: z.strictObject({
    peer: z.string().min(1).meta({
      positional: 0,
      description: "Name, alias or address of a peer",
      completes: "peers",
    }),
    prefer: kind.optional().meta({ description: "Kind to use before all others" }),
    exclude: z.array(kind).optional().meta({ description: "Kind never to use; may be repeated" }),
    reset: z.boolean().default(false).meta({ description: "Undo earlier choices" }),
    on: z.string().optional().meta({
      description: "Node that this is for, by name or id; by default this one",
      placeholder: "NODE",
      completes: "peers",
    }),
  }),
  permissions: { opens: ["$control"] },
  async run({ on, ...choice }, { out, daemon }) {
    if (choice.reset && (choice.prefer !== undefined || choice.exclude !== undefined)) {
      throw new MeshError("usage", "Cannot reset and choose at once: leave --reset out");
    }
    using client = await daemon();
    const preference =
      await (on === undefined ? chooseHere(client, choice) : chooseOn(client, on, choice));
    const { peer } = choice;
    out.document({ peer, ...on === undefined ? {} : { on }, ...preference }, () => [
      `Order     ${preference.order.join(", ")}`,
      `Excluded  ${preference.exclude.join(", ") || "none"}`,
    ]);
  },
});

interface Choice {
  readonly peer: string;
  readonly prefer?: PathKind | undefined;
  readonly exclude?: readonly PathKind[] | undefined;
  readonly reset: boolean;
}

/** For this node, until it ends. */
async function chooseHere(client: ControlClient, choice: Choice): Promise<PathPreference> {
  const { peer, prefer, exclude, reset } = choice;
  if (!isChoice(choice)) return (await client.why(peer)).preference;
  return await client.preferPaths({
    peer,
    reset,
    ...(prefer ? { order: orderOf(prefer) } : {}),
    ...(exclude ? { exclude } : {}),
  });
}

/** For another node, by the mesh's log. */
async function chooseOn(
  client: ControlClient,
  on: string,
  choice: Choice,
): Promise<PathPreference> {
  const { nodes, transports } = await client.mesh();
  const idOf = (text: string) => {
    const found = nodes.find(({ id, name }) => id === text || name === text);
    if (found) return found.id;
    throw new MeshError("peer-unknown", `Cannot find node "${text}" in the mesh`, {
      hint: "List the nodes with: tunnelmesh node list",
    });
  };
  const [node, peer] = [idOf(on), idOf(choice.peer)];
  const before = transports.find((each) => each.node === node && each.peer === peer) ??
    DEFAULT_PREFERENCE;
  if (!isChoice(choice)) return before;
  const preference = choice.reset ? null : {
    order: choice.prefer ? orderOf(choice.prefer) : [...before.order],
    exclude: [...choice.exclude ?? before.exclude],
  };
  await client.append({ body: { type: "transport-set", node, peer, preference } });
  return preference ?? DEFAULT_PREFERENCE;
}

function isChoice({ prefer, exclude, reset }: Choice): boolean {
  return reset || prefer !== undefined || exclude !== undefined;
}

function orderOf(first: PathKind): PathKind[] {
  return [first, ...PATH_KINDS.filter((each) => each !== first)];
}
