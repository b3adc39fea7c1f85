import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
// @ts-types="@types/ws"
import { WebSocket } from "ws";
import { PATHS } from "../core/control/envelope.ts";
import { SeededRandom } from "../core/random.ts";
import { meshLog, meshOf } from "../tests/mesh_fixture.ts";
import { ControlSockets } from "./control_sockets.ts";
import { ControlHub, type HubEffect, type HubEvent } from "./model/control_hub.ts";
import { Registry } from "./model/registry.ts";
import { emptyState } from "./model/state.ts";

const BIG = "x".repeat(1 << 20);

function hubOptions() {
  const log = meshLog();
  const registry = new Registry(emptyState(log.meshId, "172.30.0.0/16"));
  return { registry, mesh: meshOf(log), random: new SeededRandom(1) };
}

/** Answers each message with 4 MiB. */
class FloodingHub extends ControlHub {
  override handle(event: HubEvent): HubEffect[] {
    if (event.type !== "message") return [];
    const message = { type: "refused", code: "internal", message: BIG } as const;
    return Array.from({ length: 4 }, () => ({
      type: "send",
      connection: event.connection,
      message,
    }));
  }
}

async function serving(
  hub: ControlHub,
  run: (url: string, logged: string[]) => Promise<void>,
): Promise<void> {
  const logged: string[] = [];
  const moment = () => ({ now: performance.now(), wallTime: Date.now() });
  const log = (_level: string, what: string) => logged.push(what);
  const sockets = new ControlSockets(hub, { moment, log, gone: () => {} });
  const server = http.createServer();
  server.on("upgrade", sockets.accept.bind(sockets));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await run(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, logged);
  } finally {
    await sockets.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

function test(name: string, fn: () => Promise<void>): void {
  // Sockets of node:http outlive their close by a tick.
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
}

/** The status of a refused upgrade, or 101. */
function upgrade(url: string): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const socket = new WebSocket(url);
  socket.on("open", () => {
    socket.terminate();
    resolve(101);
  });
  socket.on("unexpected-response", (_request, response) => {
    response.destroy();
    resolve(response.statusCode ?? 0);
  });
  socket.on("error", () => {});
  return promise;
}

test("ControlSockets drops a connection that does not read, and says so", () =>
  serving(new FloodingHub(hubOptions()), async (url, logged) => {
    const socket = new WebSocket(url + PATHS.control);
    await new Promise((resolve) => socket.on("open", resolve));
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.pause();
    for (let i = 0; i < 40 && logged.length === 0; i++) {
      socket.send("more");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.match(logged[0] ?? "", /too slowly/);
    socket.resume();
    await closed;
  }));

test("ControlSockets takes upgrades of the control path only, not too many", () =>
  serving(new ControlHub(hubOptions()), async (url) => {
    assert.equal(await upgrade(`${url}/elsewhere`), 404);
    assert.equal(await upgrade(`${url}${PATHS.control}?x`), 404);
    const statuses = new Set<number>();
    for (let round = 0; round < 30 && !statuses.has(429); round++) {
      const answers = Array.from({ length: 25 }, () => upgrade(url + PATHS.control));
      for (const status of await Promise.all(answers)) statuses.add(status);
    }
    assert.deepEqual([...statuses].sort(), [101, 429]);
  }));

test("ControlSockets ends a connection that sends binary or too much", () =>
  serving(new ControlHub(hubOptions()), async (url) => {
    for (const data of [new Uint8Array(4), "x".repeat(300_000), "no JSON"]) {
      const socket = new WebSocket(url + PATHS.control);
      socket.on("error", () => {});
      await new Promise((resolve) => socket.on("open", resolve));
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.send(data);
      await closed;
    }
  }));
