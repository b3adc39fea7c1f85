import assert from "node:assert/strict";
import fc from "fast-check";
import { PathAgent } from "./agent.ts";
import { AgentPair, NAMES, SECRETS, type Step } from "./agent_pair.ts";
import { Anonymiser } from "./anonymise.ts";
import { compare, type Entry, Recorder, type Recording, replay } from "./recorder.ts";
import { RecordingSchema } from "./recording_schema.ts";

const LIMITS = { ms: 60_000, entries: 300, bytes: 100_000 };
const ENDLESS = { ms: Infinity, entries: Infinity, bytes: Infinity };
const STEPS = fc.array(fc.tuple(fc.nat(11), fc.nat(99)), { minLength: 1, maxLength: 60 });

/** Options do not matter: they are in the snapshot. */
function make(): PathAgent {
  return new PathAgent({ mtu: 1280, seed: 1 });
}

/** What a report does to a recording, and reading it again. */
function carried(recording: Recording): Recording {
  const text = JSON.stringify(new Anonymiser("salt", NAMES).value(recording));
  for (const secret of SECRETS) assert.ok(!text.includes(secret), secret);
  return RecordingSchema.parse(JSON.parse(text));
}

function assertSame(recording: Recording): void {
  const { difference } = compare(recording, make);
  assert.equal(difference && JSON.stringify(difference), null);
}

Deno.test("compare() finds no difference in any history, anonymised and as text", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(STEPS, fc.boolean(), (steps: readonly Step[], isSeparated) => {
      const pair = new AgentPair(LIMITS);
      if (isSeparated) pair.separate();
      for (const step of steps) pair.step(step);
      for (const { recording } of pair.recorders) {
        assertSame(recording);
        assertSame(carried(recording));
        for (const { effect } of replay(recording, make)) seen.add(effect.type);
      }
    }),
    { numRuns: 60, seed: 1 },
  );
  // The histories are worth something: everything that an agent can want was wanted.
  assert.equal(seen.size, 7, [...seen].join());
});

Deno.test("compare() finds no difference from any state that a history goes through", () => {
  fc.assert(
    fc.property(STEPS, fc.nat(39), (steps: readonly Step[], offset) => {
      const starts: { snapshot: string; from: number }[] = [];
      let count = 0;
      const pair = new AgentPair(ENDLESS, (side, { agents, recorders }) => {
        if (side !== 0 || count++ % 40 !== offset) return;
        const from = recorders[0]!.recording.stretches[0]!.entries.length;
        starts.push({ snapshot: agents[0]!.snapshot(), from });
      });
      if (offset % 2) pair.separate();
      for (const step of steps) pair.step(step);
      const { entries } = pair.recorders[0]!.recording.stretches[0]!;
      for (const { snapshot, from } of starts.slice(0, 8)) {
        assertSame(carried({ stretches: [{ snapshot, entries: entries.slice(from) }] }));
      }
    }),
    { numRuns: 20, seed: 2 },
  );
});

Deno.test("replay() of one stretch ends in the state that the next one begins with", () => {
  for (const { recording } of busyPair().recorders) {
    const [before, now] = recording.stretches;
    const agent = make();
    agent.restore(before!.snapshot);
    for (const { at, event } of before!.entries) agent.handle(event, at);
    assert.equal(agent.snapshot(), now!.snapshot);
  }
});

Deno.test("compare() tells the first decision that is another one", () => {
  const recording = structuredClone(busyPair().recorders[0]!.recording) as Recording;
  const entries = recording.stretches[0]!.entries as Entry[];
  const at = entries.findIndex(({ effects }) => effects!.length > 0);
  entries[at] = { ...entries[at]!, effects: [] };
  const { same, difference } = compare(recording, make);
  assert.equal(same, 0);
  assert.equal(difference?.entry, at);
  assert.ok(difference.replayed.length > 0);
});

Deno.test("Recorder keeps two stretches, each within its limits", () => {
  const [recorder] = busyPair().recorders;
  const { stretches } = recorder!.recording;
  assert.equal(stretches.length, 2);
  for (const { entries } of stretches) {
    assert.ok(entries.length <= LIMITS.entries);
    assert.ok(entries.at(-1)!.at - entries[0]!.at < LIMITS.ms);
  }
});

Deno.test("Recorder ends a stretch when its objects take too much", () => {
  const recorder = new Recorder(make(), { ...ENDLESS, bytes: 10_000 });
  const why = "x".repeat(1_000);
  for (let i = 0; i < 100; i++) {
    recorder.handle({ type: "link", path: "ssh", peer: null, isUp: false, why }, i);
  }
  assert.ok(recorder.recording.stretches.every(({ entries }) => entries.length < 12));
});

Deno.test("Recorder keeps an event without its effects when they are too many", () => {
  const recorder = new Recorder(make());
  const endpoints = Array.from({ length: 30 }, (_, i) => `198.51.100.${i}:1`);
  for (let peer = 0; peer < 40; peer++) {
    recorder.handle({ type: "peer-added", peer, id: peer.toString(16).padStart(16, "0") }, 1);
    recorder.handle({ type: "candidates", peer, endpoints }, 1);
    recorder.handle({ type: "session", peer, isUp: true }, 1);
  }
  recorder.handle({ type: "network-changed" }, 2);
  const entry = recorder.recording.stretches[0]!.entries.at(-1)!;
  assert.deepEqual(entry, { at: 2, event: { type: "network-changed" }, effects: null });
  assertSame(carried(recorder.recording));
});

Deno.test("Recorder does not keep ticks that come early", () => {
  const recorder = new Recorder(make());
  for (let at = 0; at < 9; at++) recorder.handle({ type: "tick" }, at);
  assert.deepEqual(recorder.recording.stretches[0]!.entries, []);
});

function busyPair(): AgentPair {
  const pair = new AgentPair(LIMITS);
  for (let i = 0; i < 150; i++) pair.step([i % 12, i * 13 % 100]);
  return pair;
}
