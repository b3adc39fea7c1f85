import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import { RecordVerifier } from "../../core/control/roster.ts";
import type { ServerMessage } from "../../core/control/messages.ts";
import type { Body } from "../../core/state/bodies.ts";
import { hashEntry, signEntry } from "../../core/state/entry.ts";
import { signHead } from "../../core/state/head.ts";
import type { SyncAlert } from "../../core/state/sync.ts";
import { policyBody, state } from "./admin.ts";
import { COORDINATOR, Coordinator } from "./coordinator.ts";
import type { Host } from "./host.ts";
import { SimMesh } from "./mesh.ts";

const SECOND = 1_000;
const OPEN = `rules:
  - from: everyone
    to: everyone
    ports: any
`;

function policy(name: string): Body {
  return policyBody(`# ${name}\n${OPEN}`);
}

function policyOf(host: Host): string | undefined {
  return host.mesh.log.state.policy?.documents[0]?.text.split("\n")[0]?.slice(2);
}

function meshOf(count: number, seed = 1): SimMesh {
  const mesh = new SimMesh(seed);
  for (let i = 0; i < count; i++) mesh.add();
  assert.ok(mesh.world.runUntil(() => mesh.isWhole(), 5 * SECOND));
  return mesh;
}

/** A coordinator with the true one's key, that goes on from what the true one has now. */
function liarOf({ world, coordinator }: SimMesh): Coordinator {
  return new Coordinator(world, new RecordVerifier(), { disk: coordinator.disk });
}

/** A machine takes another coordinator for the true one. */
function moveTo(coordinator: Coordinator, ...hosts: Host[]): void {
  for (const host of hosts) {
    host.coordinator = coordinator;
    host.plug();
  }
}

/** Nodes hear of the log only by their coordinator: none has a session with another. */
function separate(mesh: SimMesh): void {
  mesh.network.weather.loss = 1;
  mesh.world.run(200 * SECOND);
}

function alertsOf(host: Host, type: SyncAlert["type"]): SyncAlert[] {
  return host.alerts.filter((alert) => alert.type === type);
}

Deno.test("what a coordinator withholds arrives by peers <= 1 s later, and it is reported", () => {
  using mesh = meshOf(4);
  const [admin, ...others] = mesh.hosts as [Host, ...Host[]];
  const liar = liarOf(mesh);
  // It neither takes nor tells.
  liar.hears = ({ type }) => type !== "log";
  const deceived = others.slice(1);
  moveTo(liar, ...deceived);
  mesh.world.run(20 * SECOND);
  for (const host of deceived) assert.ok(host.isConnected);
  state(admin, policy("new"));
  mesh.world.run(SECOND);
  for (const host of mesh.hosts) assert.equal(policyOf(host), "new", host.name);
  mesh.world.run(20 * SECOND);
  for (const host of deceived) assert.ok(alertsOf(host, "stale").length > 0, host.name);
  for (const host of [admin, others[0]!]) assert.deepEqual(host.alerts, []);
});

Deno.test("a coordinator with an older log rolls no node back, and learns what it lacks", () => {
  using mesh = meshOf(3);
  const [admin] = mesh.hosts as [Host];
  const old = liarOf(mesh);
  state(admin, policy("new"));
  mesh.world.run(SECOND);
  const { hash } = admin.mesh.log.head;
  moveTo(old, ...mesh.hosts);
  for (let i = 0; i < 100; i++) {
    mesh.world.run(50);
    for (const host of mesh.hosts) assert.equal(host.mesh.log.head.hash, hash);
  }
  assert.equal(old.mesh.log.head.hash, hash);
});

Deno.test("entries that a coordinator makes up are believed by nobody, and reported", () => {
  using mesh = meshOf(3);
  const { world, coordinator, hosts } = mesh;
  const [, b, c] = hosts as [Host, Host, Host];
  const { log } = coordinator.mesh;
  const { hash } = log.head;
  const bodies: Body[] = [
    policy("forged"),
    { type: "node-revoke", node: b.reply.id, reason: "" },
    {
      type: "user-add",
      name: "mallory",
      key: toBase64Url(COORDINATOR.publicKey),
    },
  ];
  for (const body of bodies) {
    const forged = signEntry(COORDINATOR, log.draft(body, world.wallTime));
    const head = signHead(COORDINATOR, {
      meshId: log.meshId,
      seq: log.head.seq + 1,
      hash: hashEntry(forged),
      at: world.wallTime,
    });
    coordinator.lie = (message): ServerMessage => {
      if (message.type !== "log") return message;
      const said = JSON.parse(message.text);
      if (said.type === "heads") said.heads = [head];
      if (said.type === "entries") said.entries = [forged];
      return { type: "log", text: JSON.stringify(said) };
    };
    for (const host of hosts) {
      host.alerts.length = 0;
      host.plug();
    }
    world.run(5 * SECOND);
    for (const host of hosts) {
      assert.equal(host.mesh.log.head.hash, hash);
      const [alert] = alertsOf(host, "refused");
      assert.ok(alert?.type === "refused" && alert.code === "entry-forbidden", host.name);
    }
  }
  assert.deepEqual(mesh.passes([[b, c]]), [true]);
});

Deno.test("a coordinator that tells two stories is convicted by the first node that hears both", () => {
  using mesh = meshOf(3);
  const { world, hosts, coordinator } = mesh;
  const [a, b, c] = hosts as [Host, Host, Host];
  const key = toBase64Url(b.applicant.identity.publicKey);
  const user = b.reply.id;
  state(a, { type: "user-add", name: "bob", key }, { type: "admin-add", user, key });
  world.run(SECOND);
  const liar = liarOf(mesh);
  separate(mesh);
  moveTo(liar, b, c);
  world.run(5 * SECOND);
  // Each admin states something; each coordinator has one of the two in the same place.
  state(a, policy("of anna"));
  state(b, policy("of bob"));
  world.run(SECOND);
  assert.deepEqual(hosts.map(policyOf), ["of anna", "of bob", "of bob"]);

  moveTo(coordinator, c);
  world.run(5 * SECOND);
  const [proof] = alertsOf(c, "equivocation");
  assert.ok(proof?.type === "equivocation");
  assert.equal(proof.signer, toBase64Url(COORDINATOR.publicKey));
  assert.equal(policyOf(c), "of bob", "what was believed first stays");
  assert.ok(
    alertsOf(a, "equivocation").length + coordinator.alerts.length > 0,
    "others hear of it",
  );

  // Nodes that meet tell each other.
  mesh.network.weather.loss = 0;
  mesh.passes([[a, b], [b, c]], 30 * SECOND);
  for (const host of hosts) assert.ok(alertsOf(host, "equivocation").length > 0, host.name);
});
