/**
 * `tunnelmesh route`: which networks are reached through which nodes?
 * @module
 */
import { z } from "zod";
import { formatOffer, parseOffer } from "../../core/exit/offers.ts";
import type { OfferedRoute } from "../../core/identity/record.ts";
import type { RoutesReport } from "../../core/daemon/exit_report.ts";
import { MeshError } from "../../core/errors.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { ROUTE_COLUMNS, routeRows } from "../exit_view.ts";
import type { Output } from "../output.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the networks that nodes lead to",
  examples: [{
    command: "tunnelmesh route list",
    meaning: "Which are in use, and why not the others?",
  }],
  permissions: PERMISSIONS,
  async run(_input, { out, daemon }) {
    using client = await daemon();
    show(await client.routes(), out);
  },
});

const network = z.string().meta({
  positional: 0,
  placeholder: "NETWORK",
  description: '192.168.7.0/24, or "192.168.7.0/24 as 10.77.7.0/24"',
}).refine((text) => parseOffer(text) !== null, {
  error: 'must be a network such as 192.168.7.0/24, or "192.168.7.0/24 as 10.77.7.0/24"',
});

const advertise = defineCommand({
  name: "advertise",
  aliases: ["add"],
  summary: "Let peers reach a network behind this node",
  description:
    "The policy says who may. Where two sites have the same range, `as` gives one of them another " +
    "of the same length, by which the mesh knows it: host 9 of 192.168.7.0/24 is then 10.77.7.9.",
  examples: [
    { command: "tunnelmesh route advertise 192.168.7.0/24", meaning: "By its own addresses" },
    {
      command: 'tunnelmesh route advertise "192.168.7.0/24 as 10.77.7.0/24"',
      meaning: "By others, since a second site has the same range",
    },
  ],
  input: z.strictObject({ network }),
  permissions: PERMISSIONS,
  async run({ network }, { out, daemon }) {
    const route = parseOffer(network)!;
    using client = await daemon();
    const others = offered(await client.routes()).filter(({ prefix }) => prefix !== route.prefix);
    show(await client.offer({ routes: [...others, route] }), out);
  },
});

const withdraw = defineCommand({
  name: "withdraw",
  aliases: ["rm"],
  summary: "Stop leading peers to a network",
  examples: [{ command: "tunnelmesh route withdraw 192.168.7.0/24", meaning: "By its own range" }],
  input: z.strictObject({ network }),
  permissions: PERMISSIONS,
  async run({ network }, { out, daemon }) {
    const { prefix } = parseOffer(network)!;
    using client = await daemon();
    const before = offered(await client.routes());
    const routes = before.filter((route) => route.prefix !== prefix);
    if (routes.length === before.length) {
      const known = before.map(formatOffer).join(", ") || "nothing";
      throw new MeshError("usage", `Cannot withdraw ${prefix}: this node offers ${known}`);
    }
    show(await client.offer({ routes }), out);
  },
});

export const route: Command = defineGroup({
  name: "route",
  summary: "Reach networks behind nodes",
  subcommands: [list, advertise, withdraw],
});

function offered({ own }: RoutesReport): OfferedRoute[] {
  return own.map(({ prefix, mapped }) => mapped === prefix ? { prefix } : { prefix, mapped });
}

function show(report: RoutesReport, out: Output): void {
  const rows = routeRows(report);
  out.document(report, () => [
    ...rows.length === 0 ? ["No networks: `tunnelmesh route advertise NETWORK` offers one"] : [],
    ...rows.length > 0 ? out.table(ROUTE_COLUMNS, rows) : [],
    ...report.problem === null ? [] : [`${out.yellow("Problem")}: ${report.problem}`],
  ]);
}
