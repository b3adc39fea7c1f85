/**
 * `tunnelmesh resolve`: what does a mesh name stand for?
 * @module
 */
import { z } from "zod";
import { defineCommand } from "../command.ts";

export const resolve = defineCommand({
  name: "resolve",
  summary: "Show the addresses of a mesh name",
  description:
    "Asks the daemon itself and not the system's resolver: `tunnelmesh dns doctor` compares both.",
  examples: [
    { command: "tunnelmesh resolve anna", meaning: "With or without .tunnelmesh, .mesh or .tm" },
    { command: "tunnelmesh resolve this.tm", meaning: "The coordinator" },
  ],
  input: z.strictObject({
    name: z.string().min(1).meta({
      positional: 0,
      description: "Mesh name",
      completes: "peers",
    }),
  }),
  permissions: { opens: ["$control"] },
  async run({ name }, { out, daemon }) {
    using client = await daemon();
    const report = await client.resolve(name);
    out.document(report, () => report.addresses.map((ip) => `${report.name} -> ${ip}`));
  },
});
