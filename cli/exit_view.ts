/**
 * How do exits and routes look on a terminal?
 * @module
 */
import type { ExitReport, ExitView, RoutesReport } from "../core/daemon/exit_report.ts";
import type { Column } from "./format.ts";
import type { Output } from "./output.ts";

export const EXIT_COLUMNS: readonly Column[] = [
  { title: "Exit", shrinksTo: 9 },
  { title: "State" },
  { title: "Id" },
];

/** A row of `exit-node list`. */
export function exitRow(exit: ExitView, out: Output): string[] {
  return [exit.name, exitText(exit, out), exit.id ?? "-"];
}

function exitText(exit: ExitView, out: Output): string {
  if (exit.isInUse) return out.green("in use");
  if (exit.id === null) return out.red("unknown");
  if (!exit.isOffering) return out.red("no exit");
  if (!exit.isAllowed) return out.red("not allowed by the policy");
  if (exit.isWanted) return exit.isHealthy ? "ready" : out.red("no answer");
  return exit.online ? "online" : out.dim("offline");
}

/** Lines of `exit-node status`. */
export function* exitLines(report: ExitReport, out: Output): Generator<string> {
  yield sentence(report, out);
  if (report.wanted.length > 0) {
    yield `Wanted: ${report.wanted.join(", ")}`;
    yield `When the exit is lost: ${report.onLoss}`;
    yield `Own LAN: ${report.lan ? "reached directly" : "not reached"}`;
  }
  if (report.problem !== null) yield `${out.yellow("Problem")}: ${report.problem}`;
  const { own } = report;
  if (own.isOffering) {
    yield own.isAllowed
      ? "This node is an exit for others, as far as the policy lets them"
      : "This node offers to be an exit, which the policy does not allow";
  }
  for (const { chain, allow } of own.obstacles) {
    yield `${out.yellow("Warning")}: ${chain} drops what others send through this node. Allow it:`;
    yield `  ${allow}`;
  }
}

function sentence({ state, exit }: ExitReport, out: Output): string {
  switch (state) {
    case "off":
      return "Traffic to the internet goes its usual way: no exit is in use";
    case "in-use":
      return `Traffic to the internet goes through ${out.bold(exit ?? "an exit")}`;
    case "blocked":
      return out.red("Traffic to the internet is held back until an exit is there");
    case "direct":
      return out.yellow("The exit is lost: traffic to the internet goes past the mesh");
  }
}

export const ROUTE_COLUMNS: readonly Column[] = [
  { title: "Network" },
  { title: "Behind", shrinksTo: 9 },
  { title: "There it is" },
  { title: "State" },
];

const STATES: Readonly<Record<RoutesReport["others"][number]["state"], string>> = {
  "used": "in use",
  "standby": "standby",
  "denied": "not allowed by the policy",
  "overlaps-mesh": "refused: addresses of the mesh",
  "overlaps-local": "not used: this machine's own network",
};

/** Rows of `route list`: what others offer, then what this node does. */
export function routeRows({ own, others }: RoutesReport): string[][] {
  return [
    ...others.map(({ mapped, name, prefix, state }) => [mapped, name, prefix, STATES[state]]),
    ...own.map(({ mapped, prefix, isAllowed }) => {
      return [
        mapped,
        "this node",
        prefix,
        isAllowed ? "offered" : "offered, not allowed by the policy",
      ];
    }),
  ];
}
