/**
 * `tunnelmesh status`: how is this node, and how are its connections?
 * @module
 */
import { defineCommand } from "../command.ts";
import { statusLines } from "../status_view.ts";

export const status = defineCommand({
  name: "status",
  summary: "Show this node, its coordinator and the path to each peer",
  description:
    "Every measured figure carries its age in brackets. LOSS is the share of inbound packets " +
    "that never came, KEYS how long ago the last handshake agreed on the keys in use. A peer " +
    "without traffic is idle: its session is made when a packet wants it.",
  examples: [
    { command: "tunnelmesh status", meaning: "Facts about the active context's node" },
    { command: "tunnelmesh status --context work", meaning: "The same for another mesh" },
    {
      command: "tunnelmesh status --json | jq '.peers[] | select(.session != \"up\") | .name'",
      meaning: "Names of peers without a session",
    },
  ],
  permissions: { opens: ["$control"] },
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const report = await client.status();
    out.document(report, () => statusLines(report, out));
  },
});
