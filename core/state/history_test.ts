/**
 * Properties over random histories: whatever admins did, nobody can change, drop, swap or cut it.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fromUtf8, utf8 } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { type Body, policyHash, sortedSet } from "./bodies.ts";
import { decodeImage, encodeBundle, encodeFrame, encodeImage, openImage } from "./codec.ts";
import type { SignedEntry } from "./entry.ts";
import { actor, admitBody, FakeMesh, keyOf, limitsOf, rotateBody } from "./fake_mesh.ts";
import { fold, MeshLog } from "./log.ts";
import { decodeState, encodeState, hashState } from "./state.ts";

/** One attempt: who tries what, in numbers that {@link attempt} makes sense of. */
interface Step {
  readonly by: number;
  readonly what: number;
  readonly a: number;
  readonly b: number;
}

function number(max: number) {
  return fc.integer({ min: 0, max: max - 1 });
}

const step = fc.record<Step>({ by: number(4), what: number(32), a: number(5), b: number(5) });
const history = fc.array(step, { minLength: 5, maxLength: 40 });

const PERSON = 1;
const MACHINE = 100;
const TOKEN = 200;
const NEXT_KEY = 300;

/** Lets somebody try something; most of it is refused, which is the log's affair. */
function attempt(mesh: FakeMesh, { by, what, a, b }: Step, index: number): void {
  const { state, meshId } = mesh.log;
  const users = [...state.users.values()];
  const user = users[a % users.length]!;
  const machine = actor(MACHINE + a);
  const tags = sortedSet([`t${b % 3}`]);
  const documents = [{ file: "p.yaml", text: `# ${a} ${b}\n` }];
  const bodies: Body[] = [
    { type: "user-add", name: `u${a}-${b}`, key: keyOf(actor(PERSON + 1 + a)) },
    { type: "admin-add", user: user.id, key: user.key },
    { type: "admin-remove", user: user.id },
    { type: "user-rename", user: user.id, name: `n${b}-${index}` },
    { type: "user-remove", user: user.id },
    admitBody(machine, { tags }),
    { ...admitBody(machine, {}), user: user.id } as Body,
    { type: "node-revoke", node: machine.peerId, reason: "gone" },
    { type: "node-expire-policy", node: machine.peerId, expiresAfterMs: (b + 1) * 60_000 },
    { type: "tag-set", node: machine.peerId, tags },
    { type: "policy-set", documents, hash: policyHash(documents) },
    rotateBody(meshId, user.id, actor(NEXT_KEY + index), true),
    {
      type: "token-authority",
      authority: `a${b}`,
      key: keyOf(actor(TOKEN + b)),
      limits: a === 0 ? null : limitsOf({ maxNodes: a, tags }),
      note: "",
    },
    {
      type: "transport-set",
      node: machine.peerId,
      peer: actor(MACHINE + b).peerId,
      preference: what > 25 ? null : { order: ["ssh"], exclude: a > 2 ? [] : ["relay"] },
    },
    admitBody(machine, { tags }, `a${b}`),
    { type: "snapshot", stateHash: hashState(state) },
  ];
  const body = bodies[(what + a * 7) % bodies.length]!;
  const isToken = body.type === "node-admit" && body.authority !== null;
  const holders = isToken ? [actor(TOKEN + b)] : keyHolders(mesh);
  try {
    mesh.say(holders[by % holders.length]!, body);
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
  }
}

/** Whose private keys exist: everybody's, current or not. */
function keyHolders(mesh: FakeMesh) {
  const keys = new Set([...mesh.log.state.users.values()].map(({ key }) => key));
  const all = [...Array(8).keys()].map((i) => actor(PERSON + i))
    .concat([...Array(40).keys()].map((i) => actor(NEXT_KEY + i)));
  return all.filter((identity) => keys.has(keyOf(identity)));
}

function play(steps: readonly Step[]): FakeMesh {
  const mesh = new FakeMesh(actor(PERSON));
  mesh.addAdmin(actor(PERSON + 1), "ben");
  for (const i of [0, 1]) mesh.say(mesh.first, admitBody(actor(MACHINE + i), { tags: ["t0"] }));
  steps.forEach((each, index) => attempt(mesh, each, index));
  return mesh;
}

/** How many entries of a story a fresh node takes; never one that is not the original at its place. */
function taken(story: readonly unknown[], mesh: FakeMesh): number {
  let log: MeshLog;
  try {
    log = MeshLog.begin(story[0], mesh.log.meshId);
  } catch (error) {
    assert.ok(error instanceof MeshError, String(error));
    return 0;
  }
  for (const signed of story.slice(1)) {
    try {
      log.append(signed);
    } catch (error) {
      assert.ok(error instanceof MeshError, String(error));
      break;
    }
  }
  assert.equal(mesh.log.contains(log.head), true, "a second history was taken");
  return log.head.seq + 1;
}

Deno.test("histories of every kind are made by the generator", () => {
  const kinds = new Set<string>();
  for (const steps of fc.sample(history, { numRuns: 100, seed: 7 })) {
    for (const { entry: { body } } of play(steps).log.since(0)) {
      const isToken = body.type === "node-admit" && body.authority !== null;
      kinds.add(isToken ? "node-admit by token" : body.type);
    }
  }
  assert.equal(kinds.size, 16, [...kinds].sort().join());
});

Deno.test("the same entries give the same state, and its text gives it again", () => {
  fc.assert(
    fc.property(history, (steps) => {
      const { log, entries } = play(steps);
      const again = fold(JSON.parse(JSON.stringify(entries)), log.meshId);
      assert.equal(encodeState(again.state), encodeState(log.state));
      assert.deepEqual(decodeState(encodeState(log.state)), again.state);
      assert.ok([...log.state.users.values()].some(({ isAdmin }) => isAdmin));
    }),
    { numRuns: 15 },
  );
});

Deno.test("a snapshot and what follows it is the whole log", () => {
  fc.assert(
    fc.property(history, history, (before, after) => {
      const mesh = play(before);
      mesh.snapshot(
        keyHolders(mesh).find((each) => isAdmin(mesh, each))!,
        hashState(mesh.log.state),
      );
      const short = MeshLog.resume(mesh.log.bundle!, mesh.log.meshId);
      const { seq } = mesh.log.head;
      after.forEach((each, index) => attempt(mesh, each, before.length + index));
      for (const { signed } of mesh.log.since(seq + 1)) short.append(signed);
      assert.deepEqual(short.head, mesh.log.head);
      assert.deepEqual(short.state, mesh.log.state);
      assert.deepEqual(short.bundle, mesh.log.bundle);
    }),
    { numRuns: 10 },
  );
});

function isAdmin(mesh: FakeMesh, identity: ReturnType<typeof actor>): boolean {
  return mesh.log.state.users.values().some((user) => user.isAdmin && user.key === keyOf(identity));
}

Deno.test("every drop, swap, repetition and cut leaves a proper prefix at most", () => {
  fc.assert(
    fc.property(history, fc.nat(), fc.nat(), (steps, x, y) => {
      const mesh = play(steps);
      const { entries } = mesh;
      const [i, j] = [x % entries.length, y % entries.length].sort((a, b) => a - b) as [
        number,
        number,
      ];
      const dropped = entries.toSpliced(i, 1);
      assert.equal(taken(dropped, mesh), i);
      assert.equal(taken(entries.slice(0, i + 1), mesh), i + 1);
      assert.equal(
        taken(entries.toSpliced(j, 0, entries[i]!), mesh),
        Math.max(j, i === j ? i + 1 : j),
      );
      if (i === j) return;
      const swapped = entries.with(i, entries[j]!).with(j, entries[i]!);
      assert.equal(taken(swapped, mesh), i);
    }),
    { numRuns: 25 },
  );
});

/** The entry with one byte of its text changed; null when that is no JSON any more, or the same. */
function mutated(entry: SignedEntry, at: number, value: number): unknown {
  const bytes = utf8(JSON.stringify(entry));
  bytes[at % bytes.length] = value;
  try {
    const changed = JSON.parse(fromUtf8(bytes));
    assert.notDeepEqual(changed, null);
    return JSON.stringify(changed) === JSON.stringify(entry) ? null : changed;
  } catch {
    return null;
  }
}

Deno.test("every single-byte change of an entry is refused", () => {
  const mesh = play(fc.sample(history, { numRuns: 1, seed: 3 })[0]!);
  fc.assert(
    fc.property(fc.nat(), fc.nat(), number(256), (which, at, value) => {
      const index = which % Math.min(mesh.entries.length, 10);
      const changed = mutated(mesh.entries[index]!, at, value);
      if (changed === null) return;
      assert.equal(taken([...mesh.entries.slice(0, index), changed], mesh), index);
    }),
    { numRuns: 150 },
  );
  // All bits of one entry, those of signature and signer included.
  const [genesis, first] = mesh.entries as [SignedEntry, SignedEntry];
  const length = utf8(JSON.stringify(first)).length;
  for (let at = 0; at < length; at++) {
    const original = utf8(JSON.stringify(first))[at]!;
    const changed = mutated(first, at, original ^ 1);
    if (changed !== null) assert.equal(taken([genesis, changed], mesh), 1, `byte ${at}`);
  }
});

Deno.test("a file with any byte changed, or cut anywhere, holds a proper prefix", () => {
  const mesh = play(fc.sample(history, { numRuns: 1, seed: 5 })[0]!);
  const bytes = encodeImage(mesh.entries);
  fc.assert(
    fc.property(fc.nat(), number(255), (position, difference) => {
      const at = position % bytes.length;
      const changed = bytes.slice();
      changed[at]! ^= difference + 1;
      for (const damaged of [changed, bytes.subarray(0, at)]) {
        let image;
        try {
          image = decodeImage(damaged);
        } catch (error) {
          assert.ok(error instanceof MeshError && at < 17);
          continue;
        }
        assert.ok(image.entries.length < mesh.entries.length);
        assert.deepEqual(image.entries, mesh.entries.slice(0, image.entries.length));
        assert.ok(image.validBytes <= at);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("a file that begins with a bundle opens as the log it was", () => {
  const mesh = play(fc.sample(history, { numRuns: 1, seed: 9 })[0]!);
  const admin = keyHolders(mesh).find((each) => isAdmin(mesh, each))!;
  mesh.snapshot(admin, hashState(mesh.log.state));
  const start = encodeBundle(mesh.log.bundle!);
  const next = mesh.say(admin, { type: "user-add", name: "z", key: keyOf(actor(99)) });
  const frame = encodeFrame(1, next);
  const file = new Uint8Array([...start, ...frame]);
  const image = decodeImage(file);
  assert.deepEqual([image.tail, image.frames, image.validBytes], ["none", 2, file.length]);
  assert.deepEqual(openImage(image, mesh.log.meshId)?.head, mesh.log.head);
  const cut = decodeImage(file.subarray(0, file.length - 1));
  assert.deepEqual([cut.tail, cut.validBytes], ["damaged", start.length]);
  assert.equal(openImage(cut, mesh.log.meshId)?.head.seq, mesh.log.head.seq - 1);
});
