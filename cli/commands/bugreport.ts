/**
 * `tunnelmesh bugreport`: what the developers need to see what this node saw.
 * @module
 */
import { defineCommand } from "../command.ts";

export const bugreport = defineCommand({
  name: "bugreport",
  summary: "Print recent decisions, anonymised",
  description:
    "JSON: which paths were tried when, with what result, and the node's status. Addresses, names " +
    "and ids are replaced, each by the same one throughout; packets and keys are not in it. Read " +
    "it before you send it on. `deno task replay FILE` goes through the decisions again.",
  examples: [
    { command: "sudo tunnelmesh bugreport > report.json", meaning: "Keep it in a file" },
  ],
  permissions: { opens: ["$control"] },
  async run(_input, { out, daemon }) {
    using client = await daemon();
    out.jsonLine(await client.bugreport());
  },
});
