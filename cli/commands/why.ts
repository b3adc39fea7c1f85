/**
 * `tunnelmesh why`: why is a peer reached as it is?
 * @module
 */
import { z } from "zod";
import { defineCommand } from "../command.ts";
import { whyLines } from "../path_view.ts";

export const why = defineCommand({
  name: "why",
  summary: "Say why a peer is reached as it is",
  description:
    "The verdict comes first, then what would help, then every path that was tried with its last " +
    "error, and the NAT at both ends. ANSWERS are pings answered of pings sent; MTU is the " +
    "largest IP packet that passes.",
  examples: [
    { command: "tunnelmesh why nas", meaning: "Why is the path to nas direct, or not?" },
    {
      command: "tunnelmesh why nas --json | jq -r .verdict",
      meaning: "The verdict alone",
    },
  ],
  input: z.strictObject({
    peer: z.string().min(1).meta({
      positional: 0,
      description: "Name, alias or address of a peer",
      completes: "peers",
    }),
  }),
  permissions: { opens: ["$control"] },
  async run({ peer }, { out, daemon }) {
    using client = await daemon();
    const report = await client.why(peer);
    out.document(report, () => whyLines(report, out));
  },
});
