import assert from "node:assert/strict";
import { AgentPair } from "../path/agent_pair.ts";
import { type Recorder, STRETCH_LIMITS } from "../path/recorder.ts";
import { bugReport } from "./bugreport.ts";
import { fakeFacts, TELLTALES } from "./bugreport_fake.ts";
import { BugReportSchema } from "./bugreport_schema.ts";
import { createLog } from "./log.ts";

function recorded(): Recorder {
  const pair = new AgentPair(STRETCH_LIMITS);
  pair.separate();
  return pair.recorders[0]!;
}

Deno.test("bugReport() is what the schema says, and comes back from text", () => {
  const report = bugReport(recorded(), fakeFacts());
  assert.deepEqual(BugReportSchema.parse(JSON.parse(JSON.stringify(report))), report);
  assert.ok(report.recording.stretches[0]!.entries.length > 50);
});

Deno.test("bugReport() holds nothing that tells who and where", () => {
  createLog("error")("warn", "Cannot reach peer", { peer: "attic", at: "203.0.113.77:4000" });
  const report = bugReport(recorded(), fakeFacts());
  const text = JSON.stringify(report);
  for (const telltale of TELLTALES) assert.ok(!text.includes(telltale), telltale);
  assert.match(
    report.log.at(-1)!,
    /warn {2}Cannot reach peer peer=node-2 at=198\.18\.0\.\d+:4000$/,
  );
});

Deno.test("bugReport() calls the same by the same name everywhere", () => {
  const { peers, netcheck, status } = bugReport(recorded(), fakeFacts());
  assert.equal(peers[0]!.peer, "node-2");
  assert.equal(peers[0]!.verdict, "node-2 is reached through a relay");
  assert.equal(peers[0]!.current, "relay:relay-1.example:8443");
  assert.equal(netcheck.relays[0]!.name, "relay-1.example:8443");
  const [outer] = netcheck.nat.mapped;
  assert.equal(outer!.split(":")[0], peers[0]!.paths[0]!.path.split(":")[0]);
  assert.match(status.warnings[0]!, /: node-1 cannot bind 172\.16\.0\.\d+:53$/);
});

Deno.test("bugReport() gives ids that another report does not give", () => {
  const texts = [0, 1].map(() => JSON.stringify(bugReport(recorded(), fakeFacts()).recording));
  assert.notEqual(texts[0], texts[1]);
});
