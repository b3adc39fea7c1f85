import assert from "node:assert/strict";
import { ConnectProxy } from "../../tests/connect_proxy.ts";
import { identityOf } from "../../tests/mesh_fixture.ts";
import { RelayServer } from "../../tests/relay_server.ts";
import { MeshError } from "../../core/errors.ts";
import type { LinkEvents } from "../../core/link.ts";
import { type LinkPair, testLink } from "../_conformance.ts";
import { RelayLink } from "./client.ts";

const [ALICE, BOB, EVE] = [identityOf(1), identityOf(2), identityOf(3)];

async function makePair(toA: LinkEvents, toB: LinkEvents, via?: ConnectProxy): Promise<LinkPair> {
  const server = await RelayServer.start([ALICE, BOB]);
  const over = via ? { proxy: `http://user:secret@${via.host}` } : {};
  const [a, b] = [server.link(ALICE, toA, over), server.link(BOB, toB, over)];
  return {
    a: { link: a, id: ALICE.peerId },
    b: { link: b, id: BOB.peerId },
    async interrupt() {
      await server.stop();
      await server.listen();
    },
    async close() {
      await Promise.all([a.close(), b.close()]);
      await server.stop();
      await via?.[Symbol.asyncDispose]();
    },
  };
}

testLink("RelayLink", (toA, toB) => makePair(toA, toB));
testLink("RelayLink through a proxy", async (toA, toB) => {
  const proxy = await ConnectProxy.start({ authorization: "Basic dXNlcjpzZWNyZXQ=" });
  return await makePair(toA, toB, proxy);
});

/** Keeps events and lets a test wait for one. */
class Changes implements LinkEvents {
  readonly seen: [peer: string | null, isUp: boolean, why: string][] = [];
  #wake = Promise.withResolvers<void>();

  received(): void {}

  changed(...change: [peer: string | null, isUp: boolean, why: string]): void {
    this.seen.push(change);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  async until(peer: string | null, isUp: boolean): Promise<string> {
    for (;;) {
      const found = this.seen.find((change) => change[0] === peer && change[1] === isUp);
      if (found) return found[2];
      await this.#wake.promise;
    }
  }
}

/** Waits until the link says why it is not connected. */
async function problemOf(link: RelayLink): Promise<string> {
  while (link.problem === null) await new Promise((resolve) => setTimeout(resolve, 5));
  return link.problem;
}

Deno.test("RelayLink reports a connection that dies, and a peer that is absent", async () => {
  await using server = await RelayServer.start([ALICE, BOB]);
  const events = new Changes();
  const link = server.link(ALICE, events);
  assert.match(link.name, /^relay:127\.0\.0\.1:\d+$/);
  await events.until(null, true);
  link.send(BOB.peerId, { bytes: new Uint8Array(9), segment: 9 });
  assert.equal(await events.until(BOB.peerId, false), "the peer is not connected to this relay");
  assert.equal(link.isUp(BOB.peerId), false);
  while (link.rttMs === null) await new Promise((resolve) => setTimeout(resolve, 5));
  server.cut();
  assert.notEqual(await events.until(null, false), "");
  assert.equal(link.isUp(EVE.peerId), false);
  await link.close();
});

Deno.test("RelayLink says why a relay does not take it", async () => {
  await using server = await RelayServer.start([ALICE]);
  await using other = await RelayServer.start([ALICE]);
  const events = new Changes();
  const cases: [link: RelayLink, why: RegExp][] = [
    [server.link(EVE, events), /not in this mesh/],
    [server.link(ALICE, events, { url: other.url }), /certificate|UnknownIssuer/i],
    [server.link(ALICE, events, { tls: {} }), /certificate|UnknownIssuer/i],
    [server.link(ALICE, events, { url: "wss://127.0.0.1:1" }), /refused/i],
    [server.link(ALICE, events, { proxy: "http://127.0.0.1:1" }), /through the proxy/],
  ];
  for (const [link, why] of cases) assert.match(await problemOf(link), why);
  assert.deepEqual(events.seen, []);
  await Promise.all(cases.map(([link]) => link.close()));
});

Deno.test("RelayLink of an identity that connects again takes the other's place", async () => {
  await using server = await RelayServer.start([ALICE]);
  const [first, second] = [new Changes(), new Changes()];
  const older = server.link(ALICE, first);
  await first.until(null, true);
  const newer = server.link(ALICE, second);
  await second.until(null, true);
  assert.match(await first.until(null, false), /the same identity connected again/);
  await Promise.all([older.close(), newer.close()]);
});

Deno.test("RelayLink closes in any state", async () => {
  await using server = await RelayServer.start([ALICE]);
  await using proxy = await ConnectProxy.start({ answer: null });
  for (const over of [{}, { proxy: `http://${proxy.host}` }]) {
    for (const afterMs of [0, 1, 5, 20, 50]) {
      const events = new Changes();
      const link = server.link(ALICE, events, over);
      if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
      await link.close();
      await link.close();
    }
  }
});

Deno.test("RelayLink refuses a proxy that is none", async () => {
  await using server = await RelayServer.start([]);
  assert.throws(() => server.link(ALICE, new Changes(), { proxy: "socks5://p" }), MeshError);
});
