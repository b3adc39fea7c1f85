/**
 * `tunnelmesh transport`: which kinds of path may be used for a peer?
 * @module
 */
import { z } from "zod";
import { PATH_KINDS } from "../../core/path/address.ts";
import { MeshError } from "../../core/errors.ts";
import { defineCommand } from "../command.ts";

const kind = z.enum(PATH_KINDS);

export const transport = defineCommand({
  name: "transport",
  summary: "Choose the kinds of path to a peer",
  description:
    "Kinds are udp, ssh, node (through another node) and relay (through a coordinator). What " +
    "should outlive the daemon belongs into the configuration, under transports.",
  examples: [
    { command: "tunnelmesh transport nas", meaning: "What may be used for nas?" },
    { command: "tunnelmesh transport nas --exclude udp", meaning: "Anything but UDP" },
    { command: "tunnelmesh transport nas --prefer relay", meaning: "The relay, if it works" },
    { command: "tunnelmesh transport nas --reset", meaning: "As it is without a choice" },
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
  }),
  permissions: { opens: ["$control"] },
  async run({ peer, prefer, exclude, reset }, { out, daemon }) {
    if (reset && (prefer !== undefined || exclude !== undefined)) {
      throw new MeshError("usage", "Cannot reset and choose at once: leave --reset out");
    }
    using client = await daemon();
    const isChoice = reset || prefer !== undefined || exclude !== undefined;
    const order = prefer === undefined
      ? undefined
      : [prefer, ...PATH_KINDS.filter((each) => each !== prefer)];
    const preference = !isChoice ? (await client.why(peer)).preference : await client.preferPaths(
      reset ? { peer, order: PATH_KINDS, exclude: [] } : {
        peer,
        ...(order ? { order } : {}),
        ...(exclude ? { exclude } : {}),
      },
    );
    out.document({ peer, ...preference }, () => [
      `Order     ${preference.order.join(", ")}`,
      `Excluded  ${preference.exclude.join(", ") || "none"}`,
    ]);
  },
});
