/**
 * `tunnelmesh netcheck`: what is between this node and the internet?
 * @module
 */
import { defineCommand } from "../command.ts";
import { netcheckLines } from "../path_view.ts";

export const netcheck = defineCommand({
  name: "netcheck",
  summary: "Show the NAT, router and relays of this node",
  description: "Exit status 0 when UDP or a relay works, 3 when neither does.",
  examples: [
    { command: "tunnelmesh netcheck", meaning: "What kind of NAT is this?" },
    { command: "tunnelmesh netcheck --json | jq .nat.mapping", meaning: "Its mapping alone" },
  ],
  permissions: { opens: ["$control"] },
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const report = await client.netcheck();
    out.document(report, () => netcheckLines(report, out));
    return report.nat.udp || report.relays.some(({ isUp }) => isUp) ? 0 : 3;
  },
});
