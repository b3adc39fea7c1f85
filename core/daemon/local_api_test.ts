import assert from "node:assert/strict";
import { MeshError } from "../errors.ts";
import { PATH_KINDS } from "../path/address.ts";
import type { NetcheckReport, StatusReport } from "./api_types.ts";
import { ADMIN, newMeshLog } from "../../tests/mesh_fixture.ts";
import { signEntry } from "../state/entry.ts";
import type { FilterReport, FilterRuleReport, FilterTrace } from "./filter_types.ts";
import type { ExitReport, RoutesReport } from "./exit_report.ts";
import { LocalApi, type LocalApiActions } from "./local_api.ts";
import type { MeshActions } from "./mesh_api.ts";
import type { MeshReport } from "./mesh_report.ts";
import { readOnlySocketPath } from "./socket_path.ts";

/** Actions that say what was asked of them. */
function actions(): LocalApiActions & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    filter: {
      report: () => ({ rules: [] as readonly unknown[] }) as FilterReport,
      add: (request) => ({ id: "t1", ...request }) as unknown as FilterRuleReport,
      remove: (request) => [{ ...request } as unknown as FilterRuleReport],
      trace: ({ from, port }) => ({ traffic: `${from} ${port}` }) as FilterTrace,
    },
    status: () => ({ name: "a" }) as StatusReport,
    resolve: (name) => {
      if (name !== "b") throw new MeshError("name-unknown", `Cannot resolve "${name}"`);
      return { name: "b.tunnelmesh", addresses: ["172.30.0.2"], peer: "b" };
    },
    async *ping({ peer, count }) {
      for (let sequence = 1; sequence <= count; sequence++) {
        yield { sequence, peer, address: "172.30.0.2", rttMs: 1, link: "udp", endpoint: null };
      }
    },
    diagnoseDns: () => Promise.resolve([]),
    why: (peer) => {
      throw new MeshError("name-unknown", `Cannot resolve "${peer}"`);
    },
    netcheck: () => ({}) as NetcheckReport,
    preferPaths: ({ peer, exclude = [] }) => {
      asked.push(`${peer} without ${exclude}`);
      return { order: PATH_KINDS, exclude };
    },
    bugreport: () => ({ format: 1 }),
    leave: () => Promise.resolve(void asked.push("leave")),
    stop: () => void asked.push("stop"),
    exits: {
      report: () => ({ state: "off" }) as ExitReport,
      routes: () => ({ problem: null }) as RoutesReport,
      use: ({ exits }) => {
        asked.push(`exits ${exits}`);
        return Promise.resolve({ state: "blocked" } as ExitReport);
      },
      offer: () => Promise.resolve({ problem: null } as RoutesReport),
    },
    mesh: meshActions(asked),
  };
}

/** The part about the mesh's log. */
function meshActions(asked: string[]): MeshActions {
  const done = { seq: 7, hash: "0".repeat(64) };
  const said = (what: string) => {
    asked.push(what);
    return Promise.resolve(done);
  };
  return {
    report: () => ({ meshId: "m" }) as MeshReport,
    entries: () => ({ meshId: "m", entries: [] }),
    draft: (body) => ({ entry: newMeshLog().draft(body, 1) }),
    append: ({ signer }) => said(`append of ${signer}`),
    state: (body) => said(`state ${body?.type}`),
    createToken: async ({ expiresInMs, note, reusable }) => {
      await said(`token for ${expiresInMs}`);
      return { id: "t", token: "tm2_", expiresAt: null, note, reusable };
    },
    withdrawToken: async (id) => void await said(`withdraw ${id}`),
  };
}

async function withApi(
  run: (
    ask: (path: string, init?: RequestInit & { isReadOnly?: boolean }) => Promise<Response>,
    api: { asked: string[]; socket: string },
  ) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const socket = `${folder}/x.sock`;
  const todo = actions();
  const api = await LocalApi.start(socket, todo);
  const clients = [socket, readOnlySocketPath(socket)].map((path) =>
    Deno.createHttpClient({ proxy: { transport: "unix", path }, poolMaxIdlePerHost: 0 })
  );
  try {
    await run(
      (path, { isReadOnly, ...init } = {}) =>
        fetch(`http://localhost${path}`, { ...init, client: clients[isReadOnly ? 1 : 0]! }),
      { asked: todo.asked, socket },
    );
  } finally {
    for (const client of clients) client.close();
    await api.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("LocalApi answers with JSON, JSON lines and problem details", async () => {
  await withApi(async (ask) => {
    assert.equal((await (await ask("/v1/status")).json()).name, "a");
    const unknown = await ask("/v1/resolve?name=x");
    assert.equal(unknown.status, 404);
    assert.equal((await unknown.json()).type, "urn:tunnelmesh:error:name-unknown");
    const body = JSON.stringify({ peer: "b", count: 2 });
    const lines = (await (await ask("/v1/ping", { method: "POST", body })).text()).trim();
    assert.deepEqual(lines.split("\n").map((line) => JSON.parse(line).sequence), [1, 2]);
  });
});

Deno.test("LocalApi refuses malformed requests by the field's name", async () => {
  await withApi(async (ask) => {
    for (const [body, field] of [['{"peer":"b","count":0}', "count"], ["not json", "object"]]) {
      const answer = await ask("/v1/ping", { method: "POST", body: body! });
      assert.equal(answer.status, 400);
      assert.match((await answer.json()).title, new RegExp(field!));
    }
    const nothing = await ask("/v1/nothing");
    assert.equal(nothing.status, 400);
    await nothing.body?.cancel();
  });
});

Deno.test("LocalApi lets other users look and change nothing", async () => {
  await withApi(async (ask, { asked, socket }) => {
    assert.equal(((await Deno.stat(socket)).mode ?? 0) & 0o777, 0o600);
    assert.equal(((await Deno.stat(readOnlySocketPath(socket))).mode ?? 0) & 0o777, 0o666);
    const status = await ask("/v1/status", { isReadOnly: true });
    assert.equal((await status.json()).name, "a");
    for (const path of ["/v1/leave", "/v1/stop", "/v1/mesh/append", "/v1/tokens"]) {
      const answer = await ask(path, { method: "POST", isReadOnly: true, body: "{}" });
      assert.equal(answer.status, 403);
      await answer.body?.cancel();
    }
    for (const path of ["/v1/mesh", "/v1/mesh/log"]) {
      const answer = await ask(path, { isReadOnly: true });
      assert.equal(answer.status, 403, path);
      const { title, detail } = await answer.json();
      assert.match(title, /as this user: .* to its own user only$/);
      assert.match(detail, /with sudo$/);
    }
    assert.deepEqual(asked, []);
    await (await ask("/v1/leave", { method: "POST", body: "{}" })).body?.cancel();
    assert.deepEqual(asked, ["leave"]);
  });
});

Deno.test("LocalApi shows the mesh's log and takes statements, signed or to be signed", async () => {
  await withApi(async (ask, { asked }) => {
    assert.equal((await (await ask("/v1/mesh")).json()).meshId, "m");
    assert.deepEqual((await (await ask("/v1/mesh/log")).json()).entries, []);
    const post = async (path: string, body: unknown) => {
      const answer = await ask(path, { method: "POST", body: JSON.stringify(body) });
      return { status: answer.status, json: await answer.json() };
    };
    const body = { type: "admin-remove", user: ADMIN.peerId };
    const { json } = await post("/v1/mesh/draft", { body });
    assert.deepEqual(json.entry.body, body);
    const signed = signEntry(ADMIN, json.entry);
    assert.equal((await post("/v1/mesh/append", { signed })).json.seq, 7);
    assert.equal((await post("/v1/mesh/append", { body })).status, 200);
    assert.equal((await post("/v1/mesh/append", { body: { type: "nothing" } })).status, 400);
    const { json: token } = await post("/v1/tokens", { expiresInMs: 5 });
    assert.deepEqual([token.id, token.reusable], ["t", false]);
    await post("/v1/tokens/revoke", { id: "t" });
    const expected = [
      `append of ${signed.signer}`,
      "state admin-remove",
      "token for 5",
      "withdraw t",
    ];
    assert.deepEqual(asked, expected);
  });
});

Deno.test("LocalApi changes exits for its own user alone", async () => {
  await withApi(async (ask, { asked }) => {
    const use = (body: object, isReadOnly = false) =>
      ask("/v1/exits/use", { method: "POST", body: JSON.stringify(body), isReadOnly });
    assert.equal((await (await ask("/v1/exits", { isReadOnly: true })).json()).state, "off");
    assert.equal((await (await use({ exits: ["home"] })).json()).state, "blocked");
    const answers = [
      await use({ exits: ["home"] }, true),
      await use({ exits: "home" }),
      await use({ onLoss: "panic" }),
      await use({ exit: ["home"] }),
    ];
    assert.deepEqual(answers.map(({ status }) => status), [403, 400, 400, 400]);
    for (const answer of answers) await answer.body?.cancel();
    assert.deepEqual(asked, ["exits home"]);
  });
});
