import assert from "node:assert/strict";
import fc from "fast-check";
import { NEVER } from "../machine.ts";
import { PathAgent, type PathEvent } from "./agent.ts";
import { AgentPair, type Step } from "./agent_pair.ts";
import { A, OTHER, PEER, RELAY } from "./agent_rig.ts";

const STEPS = fc.array(fc.tuple(fc.nat(11), fc.nat(99)), { minLength: 1, maxLength: 60 });

Deno.test("any history: the deadline is that of whatever is due first", () => {
  fc.assert(
    fc.property(STEPS, fc.boolean(), (steps: readonly Step[], isSeparated) => {
      const pair = new AgentPair({ ms: 1, entries: 1, bytes: 1 }, (_side, { agents, now }) => {
        for (const agent of agents) {
          for (const slot of [PEER, OTHER]) {
            // What was due before the last event is: it may be due now.
            const due = agent.pathsOf(slot)?.deadline(now) ?? NEVER;
            assert.ok(agent.deadline <= due, `${agent.deadline} is after ${due} at ${now}`);
          }
        }
      });
      if (isSeparated) pair.separate();
      for (const step of steps) pair.step(step);
    }),
    { numRuns: 30, seed: 3 },
  );
});

Deno.test("an agent that is restored decides as the first one goes on to", () => {
  fc.assert(
    fc.property(STEPS, fc.boolean(), (steps: readonly Step[], isSeparated) => {
      const pair = new AgentPair({ ms: Infinity, entries: Infinity, bytes: Infinity });
      if (isSeparated) pair.separate();
      for (const step of steps) pair.step(step);
      const [first] = pair.agents;
      const restored = new PathAgent({ mtu: 1280, seed: 9 });
      restored.restore(first!.snapshot());
      assert.equal(restored.snapshot(), first!.snapshot());
      let { now } = pair;
      for (const event of sequel(steps.length)) {
        now = Math.max(now, Math.min(first!.deadline, now + 400));
        assert.deepEqual(restored.handle(event, now), first!.handle(event, now));
        assert.equal(restored.deadline, first!.deadline);
      }
      assert.equal(restored.snapshot(), first!.snapshot());
    }),
    { numRuns: 30, seed: 4 },
  );
});

/** What may happen next. */
function sequel(choice: number): PathEvent[] {
  const ping = { type: "ping", number: choice } as const;
  return [
    { type: "tick" },
    { type: "traffic", peer: choice % 2 },
    { type: "message", peer: PEER, from: A, message: ping },
    { type: "link", path: RELAY, peer: null, isUp: choice % 3 > 0, why: "" },
    { type: "network-changed" },
    ...Array(200).fill({ type: "tick" }),
    { type: "traffic", peer: PEER },
    { type: "prefer", peer: PEER, preference: { order: ["relay"], exclude: ["ssh"] } },
    ...Array(200).fill({ type: "tick" }),
  ];
}
