/**
 * Writes the simulator's part of docs/nat.md: which pairs of sites become direct.
 *
 * Usage: deno run -A scripts/gen_nat_doc.ts [--check]
 * @module
 */
import { NAT_KINDS } from "../tests/sim/internet.ts";
import { type GridRow, runGrid } from "../tests/sim/nat_grid.ts";
import { currentText, type Generated, settle } from "./generated.ts";

const PATH = "docs/nat.md";
const SEED = 7;
const MARKS = ["<!-- simulator -->", "<!-- /simulator -->"] as const;
const SIGNS = { direct: "direct", search: "search", relay: "relay" } as const;

/** The page with its table made anew. */
export function natPage(rows: readonly GridRow[], before: string): Generated {
  const names = NAT_KINDS.map(({ name }) => name);
  const cell = (a: string, b: string) => {
    const row = rows.find(({ kinds: [x, y] }) =>
      (x.name === a && y.name === b) || (x.name === b && y.name === a)
    );
    if (!row) return "";
    if (row.path === "relay") return SIGNS.relay;
    return row.expected === "search" ? SIGNS.search : SIGNS.direct;
  };
  const lines = names.map((a, i) => [a, ...names.slice(0, i + 1).map((b) => cell(a, b))]);
  const table = [["", ...names], names.concat("").map(() => "---"), ...lines]
    .map((line) =>
      `| ${[...line, ...Array(names.length + 1 - line.length).fill("")].join(" | ")} |`
    );
  const worst = Math.max(...rows.map(({ firstPacketMs }) => firstPacketMs ?? Infinity));
  const note =
    `${rows.length} pairs, every packet of 20 s each way arrived once. The first packet, ` +
    `before there was a session, took at most ${
      Math.ceil(worst)
    } ms where a datagram needs up to ` +
    `30 ms to the other end by the relay.`;
  const [begin, end] = MARKS;
  const at = before.indexOf(begin), to = before.indexOf(end);
  const [head, tail] = at < 0 ? [before, ""] : [before.slice(0, at), before.slice(to + end.length)];
  const off = "<!-- deno-fmt-ignore-start -->", on = "<!-- deno-fmt-ignore-end -->";
  const inner = [begin, off, table.join("\n"), note, on, end].join("\n\n");
  const text = head + inner + tail;
  return { path: PATH, text };
}

if (import.meta.main) {
  const page = natPage([...runGrid(SEED)], currentText(PATH));
  Deno.exit(settle([page], Deno.args, "deno run -A scripts/gen_nat_doc.ts"));
}
