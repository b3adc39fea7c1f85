import assert from "node:assert/strict";
import { appendFileSync, copyFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { type ErrorCode, MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { SeededRandom } from "../core/random.ts";
import { StateLog } from "../storage/state/state_log.ts";
import {
  admission,
  drafted,
  EPOCH,
  identityOf,
  keyOf,
  refuses,
  tokenProof,
} from "../tests/mesh_fixture.ts";
import { type Opened, openRegistry, SNAPSHOT_EVERY } from "./journal.ts";

const [ADMIN, NODE, OTHER] = [0, 1, 2].map(identityOf) as [Identity, Identity, Identity];
const DAY_MS = 86_400_000;

/** A coordinator's folder, opened and closed as often as a test wants. */
class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync();
  readonly logged: string[] = [];
  readonly #seed: number;

  constructor(seed = 0) {
    this.#seed = seed;
  }

  async open<T>(
    use: (opened: Opened, stateLog: StateLog) => T,
    cidr4 = "172.30.0.0/16",
  ): Promise<T> {
    using stateLog = await StateLog.open(this.file("state.db"));
    const opened = openRegistry(stateLog, {
      dataDir: this.path,
      cidr4,
      random: new SeededRandom(this.#seed),
      wallTime: EPOCH,
      log: (_level, message) => this.logged.push(message),
    });
    using _logFile = opened.logFile;
    return use(opened, stateLog);
  }

  /** A mesh whose first node has joined, and another one. */
  static async begun(): Promise<Folder> {
    const folder = new Folder();
    await folder.open((opened) => {
      const { mesh } = opened;
      const proof = tokenProof(mesh.firstSecret("node"), "challenge", ADMIN);
      mesh.begin({ identity: keyOf(ADMIN), user: "anna", name: "a" }, proof, EPOCH);
      admit(opened, NODE);
      for (const identity of [ADMIN, NODE]) register(opened, identity);
    });
    return folder;
  }

  async refuses(code: ErrorCode, message: RegExp): Promise<void> {
    await assert.rejects(() => this.open(() => {}), (error: Error & { code?: string }) => {
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    });
  }

  file(name: string): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

function admit({ mesh }: Opened, identity: Identity): void {
  mesh.append([drafted(mesh.log, admission(mesh.log, identity), { by: ADMIN })], EPOCH);
}

function revoke({ mesh }: Opened, { peerId: node }: Identity): void {
  const body = { type: "node-revoke", node, reason: "lost" } as const;
  mesh.append([drafted(mesh.log, body, { by: ADMIN })], EPOCH);
}

function register({ registry }: Opened, identity: Identity, name = "node"): void {
  registry.execute({ type: "register", at: EPOCH, identity: keyOf(identity), name, aliases: [] });
}

/** A command that changes something each time. */
function rename(opened: Opened, n: number): void {
  register(opened, NODE, `n${n}`);
}

Deno.test("openRegistry() finds the same mesh again: registry, log, key and prefix", async () => {
  using folder = await Folder.begun();
  const before = await folder.open((opened, stateLog) => {
    for (let n = 0; n < SNAPSHOT_EVERY; n++) rename(opened, n);
    assert.equal(stateLog.sinceSnapshot, 2);
    const { registry, mesh } = opened;
    return { state: registry.state, head: mesh.log.head, key: mesh.key, isNew: mesh.isNew };
  });
  assert.equal(before.isNew, false);
  await folder.open(({ registry, mesh }) => {
    assert.deepEqual(registry.state, before.state, "another prefix does not move a mesh");
    assert.equal(registry.state.meshId, mesh.log.meshId);
    const { head } = mesh.log;
    assert.deepEqual({ head, key: mesh.key }, { head: before.head, key: before.key });
  }, "10.0.0.0/8");
});

Deno.test("the first token stays the same over restarts", async () => {
  using folder = new Folder();
  const secretOf = () => folder.open(({ mesh }) => [mesh.isNew, mesh.firstSecret("node").toHex()]);
  const [isNew, secret] = await secretOf();
  assert.equal(isNew, true);
  assert.deepEqual(await secretOf(), [true, secret]);
});

Deno.test("a command that cannot be written is refused and changes nothing", async () => {
  using folder = await Folder.begun();
  await folder.open((opened, stateLog) => {
    stateLog.append = () => {
      throw new Error("disk full");
    };
    const before = opened.registry.state;
    refuses(() => rename(opened, 1), "system");
    assert.equal(opened.registry.state, before);
  });
});

Deno.test("an entry that cannot be written is refused and believed by nobody", async () => {
  using folder = await Folder.begun();
  await folder.open((opened) => {
    const { mesh, logFile } = opened;
    logFile.append = () => {
      throw new MeshError("system", "Cannot keep the mesh's log: disk full");
    };
    const { head } = mesh.log;
    refuses(() => admit(opened, OTHER), "system");
    assert.deepEqual(mesh.log.head, head);
  });
  await folder.open(({ mesh }) => assert.ok(!mesh.isMember(OTHER.peerId)));
});

Deno.test("a snapshot that cannot be written is only reported", async () => {
  using folder = await Folder.begun();
  await folder.open((opened, stateLog) => {
    stateLog.saveSnapshot = () => {
      throw new Error("disk full");
    };
    for (let n = 0; n < SNAPSHOT_EVERY; n++) rename(opened, n);
    assert.equal(opened.registry.state.nodes.get(NODE.peerId)?.name, `n${SNAPSHOT_EVERY - 1}`);
    assert.equal(folder.logged[0], "Cannot write a snapshot");
  });
});

Deno.test("openRegistry() refuses commands that make no sense, in words", async () => {
  using folder = await Folder.begun();
  await folder.open((_opened, stateLog) => stateLog.append('{"type":"revoke-token","at":0}'));
  await folder.refuses("state-invalid", /^Cannot read a stored command/);
});

Deno.test("a crash between log and registry: who was revoked is gone, who was admitted may come", async () => {
  using folder = await Folder.begun();
  const before = folder.file("before.db");
  copyFileSync(folder.file("state.db"), before);
  await folder.open((opened) => {
    revoke(opened, NODE);
    admit(opened, OTHER);
    register(opened, OTHER);
  });
  for (const name of ["state.db", "state.db-wal"]) rmSync(folder.file(name), { force: true });
  copyFileSync(before, folder.file("state.db"));
  await folder.open((opened) => {
    const { registry, mesh } = opened;
    assert.deepEqual([...registry.state.nodes.keys()], [ADMIN.peerId]);
    assert.ok(mesh.isMember(OTHER.peerId));
    register(opened, OTHER);
    assert.equal(registry.state.nodes.get(OTHER.peerId)?.ip4, "172.30.0.2", "the free address");
  });
});

Deno.test("a log that was cut in its last entry goes on from the one before", async () => {
  using folder = await Folder.begun();
  const seq = await folder.open(({ mesh }) => mesh.log.head.seq);
  await folder.open((opened) => {
    admit(opened, OTHER);
    register(opened, OTHER);
  });
  const { size } = statSync(folder.file("mesh.log"));
  truncateSync(folder.file("mesh.log"), size - 7);
  await folder.open((opened) => {
    assert.equal(opened.mesh.log.head.seq, seq);
    const { nodes } = opened.registry.state;
    assert.equal(nodes.get(OTHER.peerId)?.ip4, "172.30.0.3", "its place is kept");
    assert.deepEqual(folder.logged, ["Cut a damaged end off the mesh's log"]);
    admit(opened, OTHER);
  });
  appendFileSync(folder.file("mesh.log"), "half a frame");
  await folder.open(({ mesh }) => {
    assert.equal(mesh.log.head.seq, seq + 1);
    assert.ok(mesh.isMember(OTHER.peerId));
  });
});

const GONE: [name: string, files: string[], message: RegExp][] = [
  ["the log", ["mesh.log"], /mesh\.log is gone/],
  ["the coordinator's key", ["coordinator.key"], /^Cannot read the coordinator's key/],
  ["the registry", ["state.db", "state.db-wal"], /state\.db is gone/],
];

for (const [name, files, message] of GONE) {
  Deno.test(`openRegistry() says so when ${name} is gone, and begins no other mesh`, async () => {
    using folder = await Folder.begun();
    for (const file of files) rmSync(folder.file(file), { force: true });
    await folder.refuses("state-invalid", message);
    await folder.refuses("state-invalid", message);
  });
}

Deno.test("openRegistry() refuses the log of another mesh", async () => {
  using folder = await Folder.begun();
  using other = new Folder(1);
  await other.open(() => {});
  copyFileSync(other.file("mesh.log"), folder.file("mesh.log"));
  await folder.refuses("entry-foreign", /of mesh/);
});

Deno.test("a membership outlives days without contact, as long as it is said to", async () => {
  using folder = await Folder.begun();
  await folder.open(({ mesh }) => {
    assert.equal(mesh.member(ADMIN.peerId, 0, EPOCH + 179 * DAY_MS).id, ADMIN.peerId);
    const error = refuses(() => mesh.member(ADMIN.peerId, 0, EPOCH + 180 * DAY_MS), "peer-unknown");
    assert.match(error.message, /expired/);
    mesh.member(ADMIN.peerId, EPOCH + DAY_MS, EPOCH + 180 * DAY_MS);
    mesh.member(NODE.peerId, 0, EPOCH + 10_000 * DAY_MS);
  });
});
