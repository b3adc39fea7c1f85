import assert from "node:assert/strict";
import { ConnectProxy, type ConnectProxyOptions } from "../../tests/connect_proxy.ts";
import { utf8 } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { SeededRandom } from "../random.ts";
import { connectThrough, MAX_ANSWER_BYTES, parseAnswer, parseProxy, type Target } from "./proxy.ts";

const TARGET: Target = { hostname: "127.0.0.1", port: 9 };
const never = new AbortController().signal;

Deno.test("parseProxy() reads host, port and credentials", () => {
  const cases: [text: string, host: string, port: number, authorization: string | null][] = [
    ["http://proxy.example.com:3128", "proxy.example.com", 3128, null],
    ["http://10.0.0.1", "10.0.0.1", 80, null],
    ["http://[fd00::1]:8080/", "fd00::1", 8080, null],
    ["http://anna:p%40ss@p:1", "p", 1, "Basic YW5uYTpwQHNz"],
    ["http://anna:50%25%zz@p:1", "p", 1, "Basic YW5uYTo1MCUyNSV6eg=="],
    ["http://anna@p:1", "p", 1, "Basic YW5uYTo="],
  ];
  for (const [text, host, port, authorization] of cases) {
    assert.deepEqual(parseProxy(text), { host, port, authorization });
  }
});

Deno.test("parseProxy() refuses other URLs without repeating them", () => {
  for (
    const text of ["", "p:1", "socks5://u:secret@p", "https://u:secret@p", "http://secret@p/x"]
  ) {
    assert.throws(() => parseProxy(text), (error) => {
      assert.ok(error instanceof MeshError && error.code === "config-invalid");
      return !`${error.message} ${error.hint}`.includes("secret");
    });
  }
});

Deno.test("parseAnswer() waits for the end of the head, and refuses what is no HTTP", () => {
  const cases: [text: string, answer: ReturnType<typeof parseAnswer>][] = [
    ["", null],
    ["HTTP", null],
    ["HTTP/1.1 200 OK\r\nA: b\r\n", null],
    ["HTTP/1.1 200 OK\r\n\r\n", { status: 200, length: 19 }],
    ["HTTP/1.0 407 No\r\nA: b\r\n\r\nrest", { status: 407, length: 25 }],
    ["HTTP/1.1 200\r\n\r\n", { status: 200, length: 16 }],
    ["HTTP/2 200 OK\r\n\r\n", "malformed"],
    ["HTTP/1.1 999 OK\r\n\r\n", "malformed"],
    ["SSH-2.0-x\r\n", "malformed"],
    ["HTTP/1.1 200 OK\r\n" + "a".repeat(MAX_ANSWER_BYTES), "too-long"],
  ];
  for (const [text, answer] of cases) assert.deepEqual(parseAnswer(utf8(text)), answer, text);
  const random = new SeededRandom(1);
  for (let i = 0; i < 5_000; i++) parseAnswer(random.bytes(random.uint32() % 64));
});

Deno.test("connectThrough() gives a connection to the target", async () => {
  await using proxy = await ConnectProxy.start({ authorization: "Basic YTpi" });
  const echo = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = echo.accept().then((connection) =>
    connection.readable.pipeTo(connection.writable).catch(() => {})
  );
  const target = { hostname: "127.0.0.1", port: echo.addr.port };
  const socket = await connectThrough(parseProxy(`http://a:b@${proxy.host}`), target, never);
  const answer = new Promise((resolve) => socket.once("data", resolve));
  socket.resume();
  socket.write("hello");
  assert.equal(String(await answer), "hello");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.destroy();
  await Promise.all([closed, served]);
  echo.close();
  const [head] = proxy.requests;
  assert.ok(head?.startsWith(`CONNECT 127.0.0.1:${target.port} HTTP/1.1\r\nHost: 127.0.0.1:`));
});

const FAILURES: [name: string, options: ConnectProxyOptions, why: RegExp][] = [
  ["wants credentials", { authorization: "Basic eDp5" }, /credentials \(407\)/],
  ["refuses", { answer: "HTTP/1.1 403 Forbidden\r\n\r\n" }, /answered 403/],
  ["is no proxy", { answer: "220 mail.example.com\r\n" }, /not HTTP/],
  ["speaks for the target", { answer: "HTTP/1.1 200 OK\r\n\r\nx" }, /more than its answer/],
  ["never ends", { answer: "HTTP/1.1 200 OK\r\n" + "a".repeat(20_000) }, /too long/],
];

for (const [name, options, why] of FAILURES) {
  Deno.test(`connectThrough() fails when the proxy ${name}`, async () => {
    await using proxy = await ConnectProxy.start(options);
    const by = parseProxy(`http://anna:secret@${proxy.host}`);
    await assert.rejects(connectThrough(by, TARGET, never), (error) => {
      assert.ok(error instanceof MeshError);
      assert.match(error.message, why);
      const text = `${error.message} ${error.hint} ${error.stack}`;
      return !text.includes("secret") && !text.includes("anna") && !text.includes("YW5uYT");
    });
  });
}

Deno.test("connectThrough() fails when nobody listens, and when it is given up", async () => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  taken.close();
  const nobody = parseProxy(`http://127.0.0.1:${port}`);
  await assert.rejects(connectThrough(nobody, TARGET, never), /Cannot reach .*through the proxy/);

  await using silent = await ConnectProxy.start({ answer: null });
  const aborter = new AbortController();
  const attempt = connectThrough(parseProxy(`http://${silent.host}`), TARGET, aborter.signal);
  while (silent.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  aborter.abort();
  await assert.rejects(attempt, /given up/);
  await assert.rejects(connectThrough(nobody, TARGET, aborter.signal), /given up/);
});
