import assert from "node:assert/strict";
import { MeshError } from "../core/errors.ts";
import { SeededRandom } from "../core/random.ts";
import { StateLog } from "../storage/state/state_log.ts";
import { openRegistry, SNAPSHOT_EVERY } from "./journal.ts";
import type { Registry } from "./model/registry.ts";

const HASH = "A".repeat(43);

async function withDir(run: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(`${dir}/state.db`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function open(stateLog: StateLog, cidr4 = "172.30.0.0/16", logged: string[] = []): Registry {
  const log = (_level: string, message: string) => logged.push(message);
  return openRegistry(stateLog, { cidr4, random: new SeededRandom(1), log });
}

function createToken(registry: Registry, n: number): void {
  registry.execute({
    type: "create-token",
    at: n,
    id: n.toString(36).padStart(11, "A"),
    hash: HASH,
    reusable: false,
    coordinator: false,
    note: "",
    expiresAt: null,
    createdBy: null,
  });
}

Deno.test("openRegistry() finds the same state again, with its mesh id and prefix", () =>
  withDir(async (path) => {
    let expected;
    {
      using stateLog = await StateLog.open(path);
      const registry = open(stateLog);
      for (let n = 0; n < SNAPSHOT_EVERY + 5; n++) createToken(registry, n);
      assert.equal(stateLog.sinceSnapshot, 5);
      expected = registry.state;
    }
    using stateLog = await StateLog.open(path);
    const { state } = open(stateLog, "10.0.0.0/8");
    assert.deepEqual(state, expected, "another prefix does not move a mesh");
  }));

Deno.test("a command that cannot be written is refused and changes nothing", () =>
  withDir(async (path) => {
    const stateLog = await StateLog.open(path);
    const registry = open(stateLog);
    const before = registry.state;
    stateLog.close();
    assert.throws(
      () => createToken(registry, 1),
      (error) => error instanceof MeshError && error.code === "system",
    );
    assert.equal(registry.state, before);
  }));

Deno.test("a snapshot that cannot be written is only reported", () =>
  withDir(async (path) => {
    using stateLog = await StateLog.open(path);
    const logged: string[] = [];
    const registry = open(stateLog, "172.30.0.0/16", logged);
    stateLog.saveSnapshot = () => {
      throw new Error("disk full");
    };
    for (let n = 0; n < SNAPSHOT_EVERY; n++) createToken(registry, n);
    assert.equal(registry.state.tokens.size, SNAPSHOT_EVERY);
    assert.deepEqual(logged, ["Cannot write a snapshot"]);
  }));

Deno.test("openRegistry() refuses a log that makes no sense, in words", () =>
  withDir(async (path) => {
    using stateLog = await StateLog.open(path);
    open(stateLog);
    stateLog.append('{"type":"revoke-token","at":0,"id":"AAAAAAAAAAA"}');
    assert.throws(
      () => open(stateLog),
      (error) => error instanceof MeshError && error.code === "state-invalid",
    );
  }));
