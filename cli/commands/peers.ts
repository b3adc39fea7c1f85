/**
 * `tunnelmesh peers`: who is in the mesh?
 * @module
 */
import { z } from "zod";
import { nearest } from "../../core/config/nearest.ts";
import type { PeerReport, StatusReport } from "../../core/daemon/api_types.ts";
import { MeshError } from "../../core/errors.ts";
import { canonicalIp } from "../../core/ip.ts";
import { defineCommand } from "../command.ts";
import { PEER_COLUMNS, peerLines, peerRow } from "../status_view.ts";

export const peers = defineCommand({
  name: "peers",
  summary: "List the nodes of the mesh, or show one",
  examples: [
    { command: "tunnelmesh peers", meaning: "All nodes but this one" },
    { command: "tunnelmesh peers anna", meaning: "Everything that is known of one" },
    { command: "tunnelmesh peers --json | jq -r .name", meaning: "Their names, one per line" },
  ],
  input: z.strictObject({
    peer: z.string().optional().meta({
      positional: 0,
      description: "Name, alias, address or id of a peer",
      completes: "peers",
    }),
  }),
  permissions: { opens: ["$control"] },
  async run({ peer }, { out, daemon }) {
    using client = await daemon();
    const report = await client.status();
    if (peer !== undefined) {
      const found = findPeer(report, peer);
      return out.document(found, () => peerLines(found, out));
    }
    if (report.peers.length === 0 && !out.isJson) {
      return out.line("No peers yet: `tunnelmesh token create` prints the line that adds one");
    }
    const sorted = [...report.peers].sort((a, b) => a.name < b.name ? -1 : 1);
    out.list(sorted, PEER_COLUMNS, (each) => peerRow(each, out));
  },
});

function findPeer(report: StatusReport, text: string): PeerReport {
  const name = text.toLowerCase().replace(/\.(tunnelmesh|mesh|tm)\.?$/, "");
  const ip = canonicalIp(text);
  const found = report.peers.find((peer) =>
    peer.name === name || peer.id === name || peer.aliases.includes(name) ||
    (ip !== null && peer.addresses.includes(ip))
  );
  if (found) return found;
  const suggestion = nearest(name, report.peers.map((peer) => peer.name));
  throw new MeshError("peer-unknown", `Cannot find peer "${text}": the mesh has none`, {
    hint: suggestion ? `Did you mean "${suggestion}"?` : "`tunnelmesh peers` lists them",
  });
}
