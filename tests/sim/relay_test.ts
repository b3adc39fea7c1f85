import assert from "node:assert/strict";
import { natKind } from "./internet.ts";
import { Network, type Site } from "./network.ts";
import { type RelayOptions, SimRelay, SimRelayLink } from "./relay.ts";
import { World } from "./world.ts";

/** Long enough for every message to arrive, but not for a dial to time out. */
const FLIGHT_MS = 5_000;
/** As long as nothing answers a dial, and a little more. */
const TIMEOUT_MS = 11_000;
const [A, B] = ["a", "b"] as const;

class Scene {
  readonly world = new World(1);
  readonly network = new Network(this.world);
  readonly relay: SimRelay;
  readonly got: string[] = [];

  constructor(options: RelayOptions = {}) {
    this.relay = new SimRelay(this.world, options);
  }

  events(name: string) {
    return {
      received: (peer: string, { bytes, segment }: { bytes: Uint8Array; segment: number }) => {
        this.got.push(`${name} got ${bytes[0]} of ${bytes.length}/${segment} from ${peer}`);
      },
      changed: (peer: string | null, isUp: boolean, why: string) => {
        this.got.push(`${name} ${peer ?? "all"} ${isUp ? "up" : "down"}: ${why}`);
      },
    };
  }

  connect(peer: string, site: Site | null = null, viaProxy = false): void {
    this.relay.connect({ peer, site, viaProxy }, this.events(peer));
  }

  send(from: string, to: string, mark: number, length = 100): boolean {
    const bytes = new Uint8Array(length);
    bytes[0] = mark;
    return this.relay.send(from, to, { bytes, segment: length });
  }

  /** What happened since the last call, within a while. */
  settle(limit = FLIGHT_MS): string[] {
    this.world.run(limit);
    return this.got.splice(0);
  }
}

Deno.test("a relay passes trains on in their order", () => {
  const scene = new Scene({ latency: [1, 200] });
  for (const peer of [A, B]) scene.connect(peer);
  assert.ok(!scene.send(A, B, 0), "not connected yet");
  assert.deepEqual(scene.settle().sort(), ["a all up: connected", "b all up: connected"]);
  for (let i = 0; i < 20; i++) {
    assert.ok(scene.send(A, B, i));
    scene.world.run(1);
  }
  const expected = Array.from({ length: 20 }, (_, i) => `b got ${i} of 100/100 from a`);
  assert.deepEqual(scene.settle(), expected);
});

Deno.test("a limited connection takes its time, and refuses what it has no room for", () => {
  const scene = new Scene({ bytesPerSecond: 100_000, latency: [1, 1] });
  for (const peer of [A, B]) scene.connect(peer);
  scene.settle();
  let accepted = 0;
  while (scene.send(A, B, 0, 50_000)) accepted++;
  assert.equal(accepted, 21);
  assert.equal(scene.settle(4_900).length, 8, "up and down take half a second each");
  assert.equal(scene.settle(60_000).length, 13);
});

Deno.test("a killed relay resets its connections, and refuses new ones until it starts", () => {
  const scene = new Scene();
  for (const peer of [A, B]) scene.connect(peer);
  scene.settle();
  scene.send(A, B, 1);
  scene.relay.kill();
  const reset = ["a all down: connection reset", "b all down: connection reset"];
  assert.deepEqual(scene.settle().sort(), reset);
  assert.ok(!scene.send(A, B, 2));
  scene.connect(A);
  assert.deepEqual(scene.settle(), ["a all down: connection refused"]);
  scene.relay.start();
  scene.connect(A);
  assert.deepEqual(scene.settle(), ["a all up: connected"]);
});

Deno.test("a relay says who is absent, and when it has come", () => {
  const scene = new Scene();
  scene.connect(A);
  scene.settle();
  scene.send(A, B, 1);
  assert.deepEqual(scene.settle(), ["a b down: the peer is not connected to this relay"]);
  scene.connect(B);
  assert.deepEqual(scene.settle().sort(), [
    "a b up: the peer has connected",
    "b all up: connected",
  ]);
  scene.relay.disconnect(B);
  scene.settle();
  scene.send(A, B, 2);
  assert.deepEqual(scene.settle(), ["a b down: the peer is not connected to this relay"]);
  scene.relay.cut(A);
  assert.deepEqual(scene.settle(), ["a all down: connection reset"]);
});

Deno.test("who may connect is up to the site", () => {
  const cases: [kind: string, port: number, viaProxy: boolean, outcome: string][] = [
    ["udp-blocked", 8443, false, "a all up: connected"],
    ["only-443", 443, false, "a all up: connected"],
    ["only-443", 8443, false, "a all down: connection timed out"],
    ["proxy-only", 443, false, "a all down: connection timed out"],
    ["proxy-only", 443, true, "a all up: connected"],
  ];
  for (const [kind, port, viaProxy, outcome] of cases) {
    const scene = new Scene({ port });
    scene.connect(A, natKind(kind).build(scene.network, 1).site, viaProxy);
    assert.deepEqual(scene.settle(TIMEOUT_MS), [outcome], `${kind} ${port}`);
  }
});

Deno.test("a connection ends when its site no longer lets it through", () => {
  const scene = new Scene();
  const { site } = natKind("udp-blocked").build(scene.network, 1);
  scene.connect(A, site);
  scene.connect(B);
  scene.settle();
  site.tcp = false;
  scene.send(B, A, 1);
  assert.deepEqual(scene.settle(), ["a all down: connection timed out"]);
});

Deno.test("a link connects again by itself, and no more once it is closed", async () => {
  const { world, relay, ...scene } = new Scene();
  const link = new SimRelayLink(world, relay, { peer: A, site: null }, {
    received: () => scene.got.push("got"),
    changed: (peer, isUp) => scene.got.push(`${peer ?? "all"} ${isUp ? "up" : "down"}`),
  });
  const settle = () => (world.run(FLIGHT_MS), scene.got.splice(0));
  assert.equal(link.name, "relay:relay:443");
  assert.deepEqual(settle(), ["all up"]);
  const train = { bytes: new Uint8Array(1), segment: 1 };
  assert.ok(link.isUp(B) && link.send(B, train));
  assert.deepEqual(settle(), ["b down"]);
  assert.ok(!link.isUp(B));
  relay.kill();
  world.run(500);
  relay.start();
  assert.deepEqual(settle(), ["all down", "all up"]);
  assert.ok(link.isUp(B));
  link.reconnect();
  assert.deepEqual(settle(), ["all down", "all up"]);
  await link.close();
  relay.kill();
  relay.start();
  assert.deepEqual(settle(), []);
  assert.ok(!link.isUp(B) && !link.send(B, train));
});
