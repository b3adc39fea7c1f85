import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import { MeshError } from "../../core/errors.ts";
import type { Body } from "../../core/state/bodies.ts";
import { policyBody, type Proposal, propose, state } from "./admin.ts";
import type { CrashPoint } from "./coordinator.ts";
import type { Host } from "./host.ts";
import { SimMesh } from "./mesh.ts";

const SECOND = 1_000;
const SEEDS = 5;

const OPEN = `rules:
  - from: everyone
    to: everyone
    ports: any
`;

/** Some entry; each number another one. */
function note(number: number): Body {
  return policyBody(`# ${number}\n${OPEN}`);
}

function meshOf(count: number, seed: number): SimMesh {
  const mesh = new SimMesh(seed);
  for (let i = 0; i < count; i++) mesh.add();
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
  return mesh;
}

/** Makes a machine's key that of another admin. */
function makeAdmin(by: Host, host: Host, name: string): void {
  const { publicKey, peerId: user } = host.applicant.identity;
  const key = toBase64Url(publicKey);
  state(by, { type: "user-add", name, key }, { type: "admin-add", user, key });
}

/** Every machine and the coordinator have one log. */
function assertOneLog(mesh: SimMesh, what: string): void {
  const { hash } = mesh.coordinator.mesh.log.head;
  for (const host of mesh.hosts) {
    assert.equal(host.mesh.log.head.hash, hash, `${what} ${host.name}`);
  }
}

function policyOf(host: Host): string | undefined {
  return host.mesh.log.state.policy?.documents[0]?.text.split("\n")[0];
}

for (const point of ["before", "torn", "after"] as const satisfies readonly CrashPoint[]) {
  Deno.test(`a coordinator that dies as it appends, ${point} its write, agrees with all after`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      using mesh = meshOf(4, seed);
      const { world, coordinator, hosts } = mesh;
      const before = coordinator.mesh.log.head.seq;
      coordinator.crashes = point;
      const proposal = propose(world, hosts[0]!, note(1));
      world.run(SECOND);
      assert.ok(proposal.outcome instanceof MeshError, "nobody says that it was taken");
      assert.equal(proposal.outcome.code, "coordinator-unreachable");
      assert.ok(!coordinator.isRunning);
      coordinator.start();
      world.run(3 * SECOND);
      const wasTaken = point === "after";
      assert.equal(coordinator.mesh.log.head.seq, before + (wasTaken ? 1 : 0));
      assertOneLog(mesh, `seed ${seed}`);
      assert.ok(hosts.every((host) => policyOf(host) === (wasTaken ? "# 1" : undefined)));

      const again = propose(world, hosts[0]!, note(2));
      world.run(SECOND);
      assert.equal(again.outcome, "taken");
      assertOneLog(mesh, `seed ${seed}`);
      assert.ok(hosts.every((host) => host.alerts.length === 0));
    }
  });
}

Deno.test("a joining machine whose coordinator dies as it admits it joins by asking again", () => {
  for (const point of ["before", "torn", "after"] as const satisfies readonly CrashPoint[]) {
    using mesh = meshOf(2, 1);
    const { world, coordinator } = mesh;
    coordinator.crashes = point;
    const isUnreachable = (error: unknown) =>
      error instanceof MeshError && error.code === "coordinator-unreachable";
    assert.throws(() => mesh.add(), isUnreachable);
    coordinator.start();
    world.run(3 * SECOND);
    mesh.add();
    assert.ok(world.runUntil(() => mesh.isWhole(), 10 * SECOND), point);
    assertOneLog(mesh, point);
  }
});

Deno.test("a coordinator restored from an old backup catches up from the nodes, none rolls back", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    using mesh = meshOf(4, seed);
    const { world, coordinator, hosts } = mesh;
    const [admin, , lost] = hosts;
    const backup = coordinator.disk;
    state(admin!, note(1));
    world.run(SECOND);
    const late = mesh.add();
    world.run(SECOND);
    state(admin!, { type: "node-revoke", node: lost!.reply.id, reason: "" });
    world.run(SECOND);
    lost!.kill();
    mesh.hosts.splice(2, 1);
    const { seq } = admin!.mesh.log.head;

    coordinator.kill();
    coordinator.restore(backup);
    coordinator.start();
    assert.ok(coordinator.mesh.log.head.seq < seq);
    // The coordinator knows it as a member again, but no node does.
    lost!.start();
    for (let i = 0; i < 300; i++) {
      world.run(10);
      for (const host of mesh.hosts) {
        assert.ok(host.mesh.log.head.seq >= seq, `seed ${seed}: ${host.name} rolled back`);
        assert.equal(host.node.slotOf(lost!.reply.id), undefined);
      }
    }
    assert.equal(coordinator.mesh.log.head.seq, seq);
    assertOneLog(mesh, `seed ${seed}`);
    assert.equal(policyOf(admin!), "# 1");
    assert.ok(!lost!.isConnected);
    // Names and addresses are no part of the log: who joined since then registers again.
    late.kill();
    late.join(null);
    late.start();
    const areConnected = () => mesh.hosts.every((host) => host.isConnected);
    assert.ok(world.runUntil(areConnected, 20 * SECOND), `seed ${seed}`);
    assert.ok(world.runUntil(() => mesh.isWhole(), 10 * SECOND), `seed ${seed}`);
    mesh.checkLeases();
  }
});

Deno.test("entries of admins who state at the same time get one order, and none is lost", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    using mesh = meshOf(3, seed);
    const { world, hosts } = mesh;
    const [a, b, c] = hosts as [Host, Host, Host];
    makeAdmin(a, b, "bob");
    world.run(SECOND);
    makeAdmin(b, c, "cleo");
    world.run(SECOND);
    const before = mesh.coordinator.mesh.log.head.seq;
    const proposals: Proposal[] = [];
    for (let i = 0; i < 5; i++) {
      for (const [n, host] of hosts.entries()) {
        proposals.push(propose(world, host, note(10 * i + n)));
      }
      world.run(world.between(0, 30) + SECOND);
    }
    world.run(10 * SECOND);
    assert.deepEqual(proposals.map(({ outcome }) => outcome), proposals.map(() => "taken"));
    assert.ok(proposals.some(({ attempts }) => attempts > 1), "they did collide");
    const entries = mesh.coordinator.mesh.log.since(before + 1);
    const texts = entries.map(({ entry: { body } }) =>
      body.type === "policy-set" ? body.documents[0]!.text : body.type
    );
    assert.equal(texts.length, 15);
    assert.equal(new Set(texts).size, 15);
    assertOneLog(mesh, `seed ${seed}`);
  }
});
