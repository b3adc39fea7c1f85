/**
 * The resolver on loopback, asked by dig and by raw sockets, with upstream resolvers played by the
 * test.
 * @module
 */
import { strict as assert } from "node:assert";
import { RCODE, TYPE } from "../dns/message.ts";
import { decodeReply, encodeQuery, frame, type Reply } from "../dns/reply.ts";
import { Zone } from "../dns/zone.ts";
import { parseEndpoint, parsePrefix } from "../ip.ts";
import { closeAfter, type DnsUpstream, exchangeTcp, exchangeUdp } from "./dns_exchange.ts";
import { type DnsServer, startDnsServer } from "./dns_server.ts";
import { readFrame } from "./dns_stream.ts";

const DIG = ["/usr/bin/dig", "/bin/dig"].find((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});

function zone(): Zone {
  const made = new Zone();
  made.setRanges([parsePrefix("172.30.0.0/16")!]);
  made.setNodes([{ name: "a", aliases: [], addresses: ["172.30.0.5", "fd00::5"] }], ["a"]);
  return made;
}

/** A free port for UDP may be another program's for TCP: then the next one may do. */
function listenOnBoth(hostname: string) {
  for (let attempt = 1;; attempt++) {
    const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
    const { port } = socket.addr as Deno.NetAddr;
    try {
      return { socket, listener: Deno.listen({ hostname, port }) };
    } catch (error) {
      socket.close();
      if (!(error instanceof Deno.errors.AddrInUse) || attempt === 50) throw error;
    }
  }
}

/**
 * An upstream resolver: replies to each query with what `reply` makes of it, null being silence.
 */
class Upstream implements AsyncDisposable {
  readonly endpoint: string;
  /** Names asked for, in order. */
  readonly asked: string[] = [];
  /** Source ports and ids of the queries. */
  readonly sources = new Set<string>();
  readonly #socket: Deno.DatagramConn;
  readonly #listener: Deno.TcpListener;
  readonly #done: Promise<unknown>;
  readonly #connections: Deno.TcpConn[] = [];

  constructor(
    reply: (query: Uint8Array, carrier: "udp" | "tcp") => readonly Uint8Array[],
  ) {
    const { socket, listener } = listenOnBoth("127.0.0.1");
    this.#socket = socket;
    this.#listener = listener;
    const { hostname, port } = socket.addr as Deno.NetAddr;
    this.endpoint = `${hostname}:${port}`;
    const udp = async () => {
      for await (const [query, from] of this.#socket) {
        this.asked.push("udp");
        const id = (query[0]! << 8) | query[1]!;
        this.sources.add(`${(from as Deno.NetAddr).port} ${id}`);
        for (const bytes of reply(query, "udp")) await this.#socket.send(bytes, from);
      }
    };
    const tcp = async () => {
      for await (const connection of this.#listener) {
        this.asked.push("tcp");
        this.#connections.push(connection);
        const query = await readFrame(connection);
        for (const bytes of reply(query!, "tcp")) await connection.write(frame(bytes));
      }
    };
    this.#done = Promise.allSettled([udp(), tcp()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    this.#listener.close();
    for (const connection of this.#connections) connection.close();
    await this.#done;
  }
}

/** A reply with one A record 192.0.2.1, which takes the query's question and id. */
function answered(query: Uint8Array, changes: Record<number, number> = {}): Uint8Array {
  const end = query.length - 11;
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
  const bytes = new Uint8Array([...query.subarray(0, end), ...record]);
  bytes.set([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], 2);
  for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
  return bytes;
}

interface Setup {
  readonly upstreams?: readonly string[];
  readonly addresses?: readonly string[];
  readonly ownAddresses?: readonly string[];
  readonly zone?: Zone;
}

async function withServer(
  setup: Setup,
  use: (server: DnsServer, target: DnsUpstream) => Promise<void>,
): Promise<void> {
  const server = startDnsServer({
    zone: setup.zone ?? zone(),
    addresses: setup.addresses ?? ["127.0.0.1"],
    ...(setup.ownAddresses === undefined ? {} : { ownAddresses: setup.ownAddresses }),
    port: 0,
    upstreams: () => setup.upstreams ?? [],
    upstreamTimeoutMs: 200,
    log: () => {},
  });
  try {
    await use(server, parseEndpoint(server.listening[0]!)!);
  } finally {
    await server.close();
  }
}

async function ask(
  target: DnsUpstream,
  name: string,
  carrier: "udp" | "tcp" = "udp",
  type: number = TYPE.a,
): Promise<Reply | null> {
  const message = encodeQuery(0x4242, name, type);
  const question = { message, questionEnd: message.length - 11 };
  const exchange = carrier === "udp" ? exchangeUdp : exchangeTcp;
  const bytes = await exchange(target, question, closeAfter(5_000));
  const reply = bytes && decodeReply(bytes);
  if (reply) assert.equal(reply.id, 0x4242);
  return reply;
}

async function dig(target: DnsUpstream, ...args: string[]): Promise<string> {
  const common = [`@${target.ip}`, "-p", `${target.port}`, "+time=3", "+tries=1"];
  const output = await new Deno.Command(DIG!, { args: [...common, ...args] }).output();
  return new TextDecoder().decode(output.stdout);
}

Deno.test({
  name: "startDnsServer() answers dig over UDP and TCP, on IPv4 and IPv6",
  ignore: DIG === undefined,
  fn: () =>
    withServer({ addresses: ["127.0.0.1", "::1"] }, async (server) => {
      assert.equal(server.listening.length, 2);
      for (const endpoint of server.listening) {
        const target = parseEndpoint(endpoint)!;
        for (const carrier of ["+notcp", "+tcp"]) {
          const text = await dig(target, carrier, "+short", "A.TunnelMesh", "A", "a.tm", "AAAA");
          assert.equal(text, "172.30.0.5\nfd00::5\n");
        }
        const reverse = await dig(target, "+short", "-x", "172.30.0.5");
        assert.equal(reverse, "a.tunnelmesh.\n");
        const missing = await dig(target, "b.mesh", "A", "+noedns");
        assert.match(missing, /status: NXDOMAIN/);
        assert.match(missing, /AUTHORITY: 1, ADDITIONAL: 0/);
        assert.match(missing, /flags: qr aa rd ra/);
        assert.doesNotMatch(missing, /WARNING|Warning|malformed/i);
        const noData = await dig(target, "a.mesh", "MX");
        assert.match(noData, /status: NOERROR.*\n.*ANSWER: 0, AUTHORITY: 1/);
        assert.match(noData, /udp: 1232/);
      }
    }),
});

Deno.test("DnsServer forwards other names, each under its own port and id", async () => {
  await using upstream = new Upstream((query) => [answered(query)]);
  await withServer({ upstreams: [upstream.endpoint] }, async (server, target) => {
    for (const carrier of ["udp", "tcp"] as const) {
      const reply = await ask(target, "www.Example.org", carrier);
      assert.equal(reply?.answers[0]?.text, "192.0.2.1");
    }
    const names = Array.from({ length: 30 }, (_, i) => `n${i}.example.org`);
    const replies = await Promise.all(names.map((name) => ask(target, name)));
    assert.ok(replies.every((reply) => reply?.answers[0]?.text === "192.0.2.1"));
    assert.equal(upstream.sources.size, 32);
    assert.equal(server.counts.forwarded, 32);
  });
});

Deno.test("DnsServer asks the next upstream when one is silent, then that one first", async () => {
  await using silent = new Upstream(() => []);
  await using refusing = new Upstream((query) => [answered(query, { 3: RCODE.refused })]);
  await using good = new Upstream((query) => [answered(query)]);
  const upstreams = [silent.endpoint, refusing.endpoint, good.endpoint];
  await withServer({ upstreams }, async (_server, target) => {
    for (let i = 0; i < 5; i++) {
      assert.equal((await ask(target, `n${i}.org`))?.answers[0]?.text, "192.0.2.1");
    }
    assert.equal(silent.asked.length, 1);
    assert.equal(refusing.asked.length, 5);
    assert.equal(good.asked.length, 5);
  });
});

Deno.test("DnsServer asks a second time before it gives up with SERVFAIL", async () => {
  await using silent = new Upstream(() => []);
  await withServer({ upstreams: [silent.endpoint] }, async (server, target) => {
    assert.equal((await ask(target, "x.org"))?.rcode, RCODE.servFail);
    assert.equal(silent.asked.length, 2);
    assert.equal(server.counts.failed, 1);
  });
});

Deno.test("DnsServer passes a failure on when no upstream does better", async () => {
  await using refusing = new Upstream((query) => [answered(query, { 3: RCODE.refused })]);
  await withServer({ upstreams: [refusing.endpoint] }, async (_server, target) => {
    assert.equal((await ask(target, "x.org"))?.rcode, RCODE.refused);
    assert.equal(refusing.asked.length, 1);
  });
});

Deno.test("DnsServer answers SERVFAIL at once without upstreams", async () => {
  await withServer({}, async (_server, target) => {
    assert.equal((await ask(target, "x.org"))?.rcode, RCODE.servFail);
    assert.equal((await ask(target, "a.tm"))?.answers[0]?.text, "172.30.0.5");
  });
});

Deno.test("DnsServer ignores forged replies and waits for the true one", async () => {
  await using upstream = new Upstream((query) => [
    answered(query, { 1: query[1]! ^ 1, [query.length + 4]: 66 }),
    answered(query, { 13: 0x79, [query.length + 4]: 66 }),
    query,
    new Uint8Array(3),
    answered(query),
  ]);
  await withServer({ upstreams: [upstream.endpoint] }, async (_server, target) => {
    assert.equal((await ask(target, "x.org"))?.answers[0]?.text, "192.0.2.1");
  });
});

Deno.test("DnsServer ignores a right reply from a wrong address", async () => {
  const forger = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.2", port: 0 });
  const upstream = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const { port } = upstream.addr as Deno.NetAddr;
  const play = (async () => {
    const [query, from] = await upstream.receive();
    const forged = answered(query);
    forged[forged.length - 1] = 66;
    await forger.send(forged, from);
    await upstream.send(answered(query), from);
  })();
  try {
    await withServer({ upstreams: [`127.0.0.1:${port}`] }, async (_server, target) => {
      assert.equal((await ask(target, "x.org"))?.answers[0]?.text, "192.0.2.1");
    });
    await play;
  } finally {
    forger.close();
    upstream.close();
  }
});

Deno.test("DnsServer fetches over TCP what did not fit UDP", async () => {
  await using upstream = new Upstream((query, carrier) => [
    carrier === "tcp"
      ? answered(query)
      : answered(query, { 2: 0x83, 7: 0 }).subarray(0, query.length - 11),
  ]);
  await withServer({ upstreams: [upstream.endpoint] }, async (_server, target) => {
    assert.equal((await ask(target, "x.org"))?.isTruncated, true);
    const whole = await ask(target, "x.org", "tcp");
    assert.equal(whole?.isTruncated, false);
    assert.equal(whole?.answers[0]?.text, "192.0.2.1");
    assert.deepEqual(upstream.asked, ["udp", "udp", "tcp"]);
    if (DIG === undefined) return;
    assert.equal(await dig(target, "+short", "+nocookie", "y.org", "A"), "192.0.2.1\n");
  });
});

Deno.test("DnsServer asks once for all who ask the same at the same time", async () => {
  await using upstream = new Upstream((query) => [answered(query)]);
  await withServer({ upstreams: [upstream.endpoint] }, async (_server, target) => {
    const replies = await Promise.all(Array.from({ length: 20 }, () => ask(target, "x.org")));
    assert.ok(replies.every((reply) => reply?.answers[0]?.text === "192.0.2.1"));
    assert.ok(upstream.asked.length < 5, `${upstream.asked.length}`);
  });
});

Deno.test("DnsServer never asks itself, and ends a loop through another resolver", async () => {
  const upstreams: string[] = [];
  await withServer({ upstreams }, async (server, target) => {
    upstreams.push(server.listening[0]!);
    assert.equal((await ask(target, "x.org"))?.rcode, RCODE.servFail);

    // A resolver that sends every question on to us, under its own id and with other letters.
    const middle = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    let count = 0;
    const relay = (async () => {
      for await (const [query, from] of middle) {
        if ((from as Deno.NetAddr).port === target.port) continue;
        const copy = new Uint8Array(query);
        copy[1] = count++ & 0xff;
        copy[13] = copy[13]! ^ (count % 2 ? 0x20 : 0);
        await middle.send(copy, { transport: "udp", hostname: target.ip, port: target.port });
      }
    })();
    upstreams[0] = `127.0.0.1:${(middle.addr as Deno.NetAddr).port}`;
    const reply = await ask(target, "xyz.org");
    middle.close();
    await relay.catch(() => {});
    assert.equal(reply?.rcode, RCODE.servFail);
    assert.ok(count <= 32, `the question went round ${count} times`);
  });
});

Deno.test("DnsServer answers other machines of the mesh about the mesh only", async () => {
  await using upstream = new Upstream((query) => [answered(query)]);
  const made = zone();
  made.setRanges([parsePrefix("127.0.0.0/8")!]);
  const setup = { zone: made, upstreams: [upstream.endpoint], ownAddresses: ["127.0.0.9"] };
  await withServer(setup, async (server, target) => {
    assert.equal((await ask(target, "x.org"))?.rcode, RCODE.refused);
    assert.equal((await ask(target, "x.org", "tcp"))?.rcode, RCODE.refused);
    assert.equal((await ask(target, "a.tm"))?.answers[0]?.text, "172.30.0.5");
    assert.equal(server.counts.refused, 2);
    assert.equal(upstream.asked.length, 0);
  });
});

Deno.test("DnsServer starts on the addresses it can have, and not without any", async () => {
  await withServer({ addresses: ["192.0.2.77", "127.0.0.1"] }, async (server, target) => {
    assert.equal(server.listening.length, 1);
    assert.equal(server.failures[0]?.address, "192.0.2.77");
    assert.equal((await ask(target, "a.tm"))?.answers.length, 1);
  });
  await assert.rejects(
    withServer({ addresses: ["192.0.2.77"] }, () => Promise.resolve()),
    /Cannot listen for DNS queries: 192\.0\.2\.77: /,
  );
});

Deno.test("DnsServer answers several queries on one TCP connection, in pieces too", async () => {
  await withServer({}, async (_server, target) => {
    const connection = await Deno.connect({ hostname: target.ip, port: target.port });
    const both = [encodeQuery(1, "a.tm", TYPE.a), encodeQuery(2, "a.tm", TYPE.aaaa)].map(frame);
    for (const byte of [...both[0]!, ...both[1]!]) await connection.write(new Uint8Array([byte]));
    const replies = [await readFrame(connection), await readFrame(connection)].map((bytes) =>
      decodeReply(bytes!)
    );
    replies.sort((a, b) => a!.id - b!.id);
    assert.deepEqual(replies.map((r) => r!.answers[0]?.text), ["172.30.0.5", "fd00::5"]);
    connection.close();
  });
});

Deno.test("DnsServer outlives clients that send garbage or leave", async () => {
  await withServer({}, async (_server, target) => {
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    const to: Deno.NetAddr = { transport: "udp", hostname: target.ip, port: target.port };
    for (let i = 0; i < 200; i++) {
      await socket.send(crypto.getRandomValues(new Uint8Array(1 + i)), to);
    }
    socket.close();
    for (const bytes of [[], [0], [255, 255, 1], [0, 3, 1, 2, 3], [0, 0, 0, 0]]) {
      const connection = await Deno.connect({ hostname: target.ip, port: target.port });
      await connection.write(new Uint8Array(bytes));
      connection.close();
    }
    assert.equal((await ask(target, "a.tm"))?.answers[0]?.text, "172.30.0.5");
    assert.equal((await ask(target, "a.tm", "tcp"))?.answers[0]?.text, "172.30.0.5");
  });
});

Deno.test("DnsServer.close() ends questions under way and open connections", async () => {
  await using silent = new Upstream(() => []);
  const server = startDnsServer({
    zone: zone(),
    addresses: ["127.0.0.1"],
    port: 0,
    upstreams: () => [silent.endpoint],
    log: () => {},
  });
  const target = parseEndpoint(server.listening[0]!)!;
  const idle = await Deno.connect({ hostname: target.ip, port: target.port });
  const message = encodeQuery(1, "x.org", TYPE.a);
  const question = { message, questionEnd: message.length - 11 };
  const waiting = [
    exchangeUdp(target, question, closeAfter(300)),
    exchangeTcp(target, question, closeAfter(3_000)),
  ];
  await new Promise((resolve) => setTimeout(resolve, 100));
  const start = performance.now();
  await server.close();
  assert.ok(performance.now() - start < 1_000);
  assert.deepEqual(await Promise.all(waiting), [null, null]);
  idle.close();
});
