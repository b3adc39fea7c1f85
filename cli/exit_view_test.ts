import assert from "node:assert/strict";
import type { ExitReport, ExitView, RoutesReport } from "../core/daemon/exit_report.ts";
import { EXIT_COLUMNS, exitLines, exitRow, ROUTE_COLUMNS, routeRows } from "./exit_view.ts";
import { TestOutput } from "./testing_host.ts";

const out = new TestOutput();

const HOME: ExitView = {
  id: "783f2fd641b55418",
  name: "home",
  online: true,
  isOffering: true,
  isAllowed: true,
  isWanted: true,
  isInUse: true,
  isHealthy: true,
};

const REPORT: ExitReport = {
  state: "in-use",
  exit: "home",
  wanted: ["home", "office"],
  onLoss: "next",
  lan: true,
  problem: null,
  exits: [HOME],
  own: { isOffering: false, isAllowed: true, obstacles: [] },
};

function text(report: Partial<ExitReport>): string {
  return [...exitLines({ ...REPORT, ...report }, out)].join("\n");
}

Deno.test("exitLines() says where traffic goes, and why it goes nowhere", () => {
  assert.equal(
    text({}),
    `\
Traffic to the internet goes through home
Wanted: home, office
When the exit is lost: next
Own LAN: reached directly`,
  );
  assert.equal(
    text({ state: "off", exit: null, wanted: [] }),
    "Traffic to the internet goes its usual way: no exit is in use",
  );
  assert.match(
    text({ state: "blocked", problem: "No peer is called home" }),
    /held back.*\n.*\n.*\n.*\nProblem: No peer is called home$/,
  );
  assert.match(text({ state: "direct" }), /goes past the mesh/);
});

Deno.test("exitLines() of an exit tells what keeps it from being one", () => {
  const own = {
    isOffering: true,
    isAllowed: false,
    obstacles: [{ chain: "ip filter FORWARD", allow: "iptables -I FORWARD -j ACCEPT" }],
  };
  assert.equal(
    text({ state: "off", wanted: [], own }).split("\n").slice(1).join("\n"),
    `\
This node offers to be an exit, which the policy does not allow
Warning: ip filter FORWARD drops what others send through this node. Allow it:
  iptables -I FORWARD -j ACCEPT`,
  );
});

Deno.test("the table of exits", () => {
  const idle = { ...HOME, isWanted: false, isInUse: false, isHealthy: null };
  const exits: ExitView[] = [
    HOME,
    { ...HOME, name: "office", isInUse: false, isHealthy: false },
    { ...HOME, name: "spare", isInUse: false },
    { ...idle, name: "cabin", online: false, isAllowed: false },
    { ...idle, name: "gone", id: null, isOffering: false, isWanted: true, isAllowed: false },
    { ...idle, name: "nas", isOffering: false, isWanted: true },
  ];
  assert.deepEqual(out.table(EXIT_COLUMNS, exits.map((exit) => exitRow(exit, out))), [
    "EXIT    STATE                      ID",
    "home    in use                     783f2fd641b55418",
    "office  no answer                  783f2fd641b55418",
    "spare   ready                      783f2fd641b55418",
    "cabin   not allowed by the policy  783f2fd641b55418",
    "gone    unknown                    -",
    "nas     no exit                    783f2fd641b55418",
  ]);
});

Deno.test("the table of networks", () => {
  const other = { prefix: "192.168.1.0/24", mapped: "10.77.1.0/24", via: HOME.id!, name: "office" };
  const report: RoutesReport = {
    own: [{ prefix: "10.5.0.0/16", mapped: "10.5.0.0/16", isAllowed: false }],
    others: [{ ...other, state: "used" }, {
      ...other,
      mapped: "192.168.1.0/24",
      state: "overlaps-local",
    }],
    problem: null,
  };
  assert.deepEqual(out.table(ROUTE_COLUMNS, routeRows(report)), [
    "NETWORK         BEHIND     THERE IT IS     STATE",
    "10.77.1.0/24    office     192.168.1.0/24  in use",
    "192.168.1.0/24  office     192.168.1.0/24  not used: this machine's own network",
    "10.5.0.0/16     this node  10.5.0.0/16     offered, not allowed by the policy",
  ]);
});
