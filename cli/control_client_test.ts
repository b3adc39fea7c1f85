/**
 * Does the client understand the daemon, its errors, and its absence?
 * @module
 */
import assert from "node:assert/strict";
import { type ErrorCode, MeshError } from "../core/errors.ts";
import { ControlClient } from "./control_client.ts";
import { FakeDaemon, type FakeReply, STATUS } from "./fake_daemon.ts";
import { tempDir } from "./testing_host.ts";

function socket(): string {
  return `${tempDir()}/daemon.sock`;
}

async function rejectsWith(code: ErrorCode, hint: RegExp, promise: Promise<unknown>) {
  await assert.rejects(promise, (error) => {
    assert(error instanceof MeshError, String(error));
    assert.equal(error.code, code);
    assert.match(error.hint ?? "", hint);
    return true;
  });
}

Deno.test("ControlClient sends what each call means", async () => {
  await using daemon = new FakeDaemon(socket(), ({ path }) => ({
    json: path === "/v1/status" ? STATUS : path.startsWith("/v1/resolve") ? { addresses: [] } : {},
  }));
  using client = await ControlClient.connect(daemon.socketPath);
  assert.deepEqual(await client.status(), STATUS);
  await client.resolve("a b.tm");
  await client.leave();
  await client.stop();
  await client.mesh();
  await client.meshLog();
  await client.draft({ type: "admin-remove", user: "0123456789abcdef" });
  await client.createToken({ expiresInMs: null });
  await client.revokeToken("AAAAAAAAAAA");
  assert.deepEqual(daemon.seen, [
    { method: "GET", path: "/v1/status", body: null },
    { method: "GET", path: "/v1/resolve?name=a%20b.tm", body: null },
    { method: "POST", path: "/v1/leave", body: {} },
    { method: "POST", path: "/v1/stop", body: {} },
    { method: "GET", path: "/v1/mesh", body: null },
    { method: "GET", path: "/v1/mesh/log", body: null },
    {
      method: "POST",
      path: "/v1/mesh/draft",
      body: { body: { type: "admin-remove", user: "0123456789abcdef" } },
    },
    { method: "POST", path: "/v1/tokens", body: { expiresInMs: null } },
    { method: "POST", path: "/v1/tokens/revoke", body: { id: "AAAAAAAAAAA" } },
  ]);
});

Deno.test("ControlClient yields ping reports line by line", async () => {
  const lines = [1, 2, 3].map((sequence) => ({ sequence, rttMs: sequence * 1.5 }));
  await using daemon = new FakeDaemon(socket(), () => ({ lines }));
  using client = await ControlClient.connect(daemon.socketPath);
  const options = { count: 3, intervalMs: 10, timeoutMs: 20 };
  assert.deepEqual(await Array.fromAsync(client.ping("anna", options)), lines);
  assert.deepEqual(daemon.seen[0]?.body, { peer: "anna", ...options });
});

const FAILURES: [about: string, reply: FakeReply, code: ErrorCode, hint: RegExp][] = [
  [
    "a problem document",
    { error: new MeshError("name-unknown", "Cannot resolve x", { hint: "Try y" }) },
    "name-unknown",
    /^Try y$/,
  ],
  ["a status without a document", { text: "oops", status: 502 }, "internal", /^$/],
  ["an unknown code", { text: '{"type":"urn:x","title":"t"}', status: 400 }, "internal", /^$/],
  ["an answer that is no JSON", { text: "<html>", status: 200 }, "protocol-invalid", /version/],
];

for (const [about, reply, code, hint] of FAILURES) {
  Deno.test(`ControlClient throws ${code} for ${about}`, async () => {
    await using daemon = new FakeDaemon(socket(), () => reply);
    using client = await ControlClient.connect(daemon.socketPath);
    await rejectsWith(code, hint, client.resolve("x"));
  });
}

Deno.test("ControlClient throws daemon-unreachable when nobody listens", async () => {
  const path = socket();
  using absent = await ControlClient.connect(path);
  await rejectsWith("daemon-unreachable", /sudo tunnelmesh up/, absent.status());
  Deno.writeTextFileSync(path, "");
  using dead = await ControlClient.connect(path);
  await rejectsWith("daemon-unreachable", /sudo tunnelmesh up/, dead.status());
});

const CUT: [about: string, answer: string][] = [
  ["before its head", ""],
  ["in its head", "HTTP/1.1 200 OK\r\ncontent-le"],
  ["in its body", "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"],
  ["in a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"],
  ["between chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n"],
  ["by another protocol", "SSH-2.0-x\r\n\r\n"],
  ["by a chunk without length", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"],
];

for (const [about, answer] of CUT) {
  Deno.test(`ControlClient throws daemon-unreachable for an answer that is cut ${about}`, async () => {
    using listener = Deno.listen({ transport: "unix", path: socket() });
    const served = (async () => {
      using connection = await listener.accept();
      await connection.read(new Uint8Array(4096));
      await connection.write(new TextEncoder().encode(answer));
    })();
    using client = await ControlClient.connect((listener.addr as Deno.UnixAddr).path);
    await rejectsWith("daemon-unreachable", /^$/, client.status());
    await served;
  });
}
