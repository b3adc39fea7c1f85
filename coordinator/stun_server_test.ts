import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, toHex } from "../core/bytes.ts";
import { SeededRandom } from "../core/random.ts";
import {
  decodeMessage,
  encodeRequest,
  encodeSuccess,
  TRANSACTION_ID,
} from "../core/stun/message.ts";
import { answerTo, startStunServer, type StunServer } from "./stun_server.ts";

/** Answers that one source gets without a pause, and then each second. */
const BURST = 200;
const PER_SECOND = 50;
/** "A few dozen bytes": what an answer is longer by than its request, at most. */
const MAX_GROWTH = 84;
const ID_AT = 8;
const UNKNOWN_REQUIRED = 0x0024;
const UNKNOWN_OPTIONAL = 0x8abc;
const IPV4 = "127.0.0.1";
const OTHER_IPV4 = "127.0.0.2";
const IPV6 = "::1";

const random = new SeededRandom(1);

/** A server on two ports, a client, and a clock that stands still. */
class Rig {
  readonly server: StunServer;
  readonly warnings: unknown[] = [];
  readonly #client: Deno.DatagramConn;
  readonly #host: string;
  now = 0;
  /** Datagrams that the server took. */
  taken = 0;

  constructor(
    { listen = IPV4, host = IPV4, otherAddress = null, ports = [0, 0] }: {
      listen?: string;
      host?: string;
      otherAddress?: string | null;
      ports?: number[];
    } = {},
  ) {
    this.#host = host;
    this.server = startStunServer({
      hostname: listen,
      otherAddress,
      ports,
      clock: () => {
        this.taken++;
        return this.now;
      },
      log: (level, _message, fields) => void this.warnings.push([level, fields?.port]),
    });
    this.#client = Deno.listenDatagram({ transport: "udp", hostname: host, port: 0 });
  }

  get port(): number {
    return (this.#client.addr as Deno.NetAddr).port;
  }

  async send(bytes: Uint8Array, port = this.server.ports[0]!): Promise<void> {
    await this.#client.send(bytes, { transport: "udp", hostname: this.#host, port });
  }

  /** Sends something that gets no answer; the server has dealt with it afterwards. */
  async sendInVain(bytes: Uint8Array): Promise<void> {
    const { taken } = this;
    await this.send(bytes);
    while (this.taken === taken) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** The next answer, and from where. */
  async receive() {
    const [bytes, from] = await this.#client.receive();
    const { hostname, port } = from as Deno.NetAddr;
    return { bytes, message: decodeMessage(bytes), hostname, port };
  }

  /** Sends a plain request; the next answer must be to it. */
  async ask(port?: number) {
    const bytes = request();
    await this.send(bytes, port);
    const answer = await this.receive();
    assert.equal(toHex(answer.message!.transactionId), idOf(bytes), "an answer to another request");
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.server.close();
  }
}

function request(change: { changeIp?: boolean; changePort?: boolean } = {}): Uint8Array {
  return encodeRequest({ transactionId: random.bytes(TRANSACTION_ID), ...change });
}

function idOf(bytes: Uint8Array): string {
  return toHex(bytes.subarray(ID_AT, ID_AT + TRANSACTION_ID));
}

/** A binding request with empty attributes of those types. */
function requestWith(...types: number[]): Uint8Array {
  const bytes = concatBytes(request().slice(0, 20), new Uint8Array(4 * types.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(2, 4 * types.length);
  for (const [i, type] of types.entries()) view.setUint16(20 + 4 * i, type);
  return bytes;
}

function hasIpv6(): boolean {
  try {
    Deno.listenDatagram({ transport: "udp", hostname: IPV6, port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

const FAMILIES: [name: string, listen: string, host: string, seen: string][] = [
  ["IPv4", IPV4, IPV4, IPV4],
  ["IPv6", IPV6, IPV6, `[${IPV6}]`],
  ["IPv4 on a socket for both", "::", IPV4, IPV4],
  ["IPv6 on a socket for both", "::", IPV6, `[${IPV6}]`],
];
for (const [name, listen, host, seen] of FAMILIES) {
  Deno.test({
    name: `a binding request is answered with where it came from: ${name}`,
    ignore: listen !== IPV4 && !hasIpv6(),
    async fn() {
      await using rig = new Rig({ listen, host });
      for (const port of rig.server.ports) {
        const answer = await rig.ask(port);
        assert.equal(answer.message?.class, "success");
        assert.equal(answer.message.mapped, `${seen}:${rig.port}`);
        assert.equal(answer.port, port);
      }
    },
  });
}

Deno.test("the address is masked: routers that rewrite addresses do not find it", async () => {
  await using rig = new Rig();
  const { bytes } = await rig.ask();
  assert.ok(toHex(bytes).includes("00200008"), "XOR-MAPPED-ADDRESS");
  assert.ok(!toHex(bytes).includes("7f000001"));
});

Deno.test("who wishes it is answered from the other port, from which he was not sent to", async () => {
  await using rig = new Rig();
  const [first, second] = rig.server.ports;
  for (const [to, from] of [[first, second], [second, first]]) {
    const bytes = request({ changePort: true });
    await rig.send(bytes, to);
    const answer = await rig.receive();
    assert.equal(answer.port, from);
    assert.equal(answer.message?.mapped, `${IPV4}:${rig.port}`);
    assert.equal(toHex(answer.message.transactionId), idOf(bytes));
  }
});

Deno.test("with a second address an answer tells of it, and comes from there when asked to", async () => {
  await using rig = new Rig({ otherAddress: OTHER_IPV4 });
  const [first, second] = rig.server.ports as [number, number];
  for (const [to, other] of [[first, second], [second, first]] as const) {
    const seen = await rig.ask(to);
    assert.equal(seen.message?.other, `${OTHER_IPV4}:${other}`);
    await rig.send(request({ changeIp: true, changePort: true }), to);
    const answer = await rig.receive();
    assert.deepEqual([answer.hostname, answer.port], [OTHER_IPV4, other]);
    assert.equal(answer.message?.mapped, `${IPV4}:${rig.port}`);
  }
  // Another address with the same port is more than a NAT's filter needs to be known by.
  await rig.sendInVain(request({ changeIp: true }));
});

Deno.test("the second address answers too, on the same ports", async () => {
  await using rig = new Rig({ host: OTHER_IPV4, otherAddress: OTHER_IPV4 });
  for (const port of rig.server.ports) {
    const answer = await rig.ask(port);
    assert.deepEqual([answer.hostname, answer.port], [OTHER_IPV4, port]);
    assert.equal(answer.message?.other, null);
  }
});

Deno.test({
  name: "a second address answers beside a server that listens on all of them",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using rig = new Rig({ listen: "0.0.0.0", otherAddress: OTHER_IPV4 });
    const [first, second] = rig.server.ports;
    assert.deepEqual(rig.warnings, []);
    assert.equal((await rig.ask(first)).message?.other, `${OTHER_IPV4}:${second}`);
    await rig.send(request({ changeIp: true, changePort: true }), first);
    const answer = await rig.receive();
    assert.deepEqual([answer.hostname, answer.port], [OTHER_IPV4, second]);
  },
});

const SILENT: [name: string, ports: number[], datagram: () => Uint8Array][] = [
  ["no bytes", [0, 0], () => new Uint8Array(0)],
  ["text", [0, 0], () => new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
  ["a request that is cut off", [0, 0], () => request().subarray(0, 19)],
  ["a request and a byte more", [0, 0], () => concatBytes(request(), Uint8Array.of(0))],
  ["another method", [0, 0], () => requestWith().with(1, 3)],
  ["an indication", [0, 0], () => requestWith().with(1, 0x11)],
  [
    "an answer",
    [0, 0],
    () => encodeSuccess({ transactionId: random.bytes(TRANSACTION_ID), mapped: `${IPV4}:1` }),
  ],
  ["a wrong cookie", [0, 0], () => request().with(4, 0)],
  ["a wrong fingerprint", [0, 0], () => request().with(-1, 0)],
  ["a wish for another address, which there is not", [0, 0], () => request({ changeIp: true })],
  ["a wish for another port, where there is none", [0], () => request({ changePort: true })],
];
for (const [name, ports, datagram] of SILENT) {
  Deno.test(`not answered: ${name}`, async () => {
    await using rig = new Rig({ ports });
    const bytes = datagram();
    await rig.sendInVain(bytes);
    // Answers keep their order: the one to this request would come second.
    assert.equal((await rig.ask()).message?.class, "success");
  });
}

Deno.test("an attribute that would have to be understood is refused, another one is not", async () => {
  await using rig = new Rig();
  const bytes = requestWith(UNKNOWN_OPTIONAL, UNKNOWN_REQUIRED, UNKNOWN_REQUIRED + 1);
  await rig.send(bytes);
  const { message, bytes: answer } = await rig.receive();
  assert.equal(message?.class, "error");
  assert.equal(toHex(message.transactionId), idOf(bytes));
  // ERROR-CODE of 21 bytes: class 4, number 20; UNKNOWN-ATTRIBUTES of 4 bytes.
  assert.ok(toHex(answer).includes("0009001500000414"));
  assert.ok(toHex(answer).includes("000a000400240025"));
  await rig.send(requestWith(UNKNOWN_OPTIONAL));
  assert.equal((await rig.receive()).message?.class, "success");
});

Deno.test("a source gets 200 answers at once, then 50 a second", async () => {
  await using rig = new Rig();
  for (let i = 0; i < BURST; i++) await rig.ask(rig.server.ports[i % 2]);
  await rig.sendInVain(request());
  rig.now = 1_000;
  for (let i = 0; i < PER_SECOND; i++) await rig.ask();
  await rig.sendInVain(request());
  rig.now = 1_100;
  await rig.ask();
});

Deno.test("garbage counts too: who sends much of it gets no answers", async () => {
  await using rig = new Rig();
  for (let i = 0; i < BURST; i++) await rig.sendInVain(Uint8Array.of(1));
  await rig.sendInVain(request());
  rig.now = 1_000;
  await rig.ask();
});

Deno.test("a port that is taken is done without, and told of", async () => {
  const taken = Deno.listenDatagram({
    transport: "udp",
    hostname: IPV4,
    port: 0,
    // As another coordinator may have it.
    reuseAddress: true,
  });
  const { port } = taken.addr as Deno.NetAddr;
  try {
    await using rig = new Rig({ ports: [port, 0] });
    assert.deepEqual(rig.warnings, [["warn", port]]);
    assert.equal(rig.server.ports.length, 1);
    assert.equal((await rig.ask()).message?.class, "success");
  } finally {
    taken.close();
  }
});

const FROM = { hostname: "2001:db8::ffff:ffff:ffff", port: 65_535 };

Deno.test("answerTo() outlives any bytes, and answers with little more than it was sent", () => {
  const attributes = fc.array(fc.nat(0xffff), { maxLength: 40 });
  const anyRequest = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    attributes.map((types) => requestWith(...types)),
    fc.tuple(fc.nat(200), fc.nat(255)).map(([at, byte]) => {
      const bytes = request({ changePort: true });
      return bytes.with(at % bytes.length, byte);
    }),
  );
  fc.assert(
    fc.property(anyRequest, fc.boolean(), (bytes, hasOther) => {
      const other = hasOther ? "[2001:db8::2]:3479" : null;
      const answer = answerTo(bytes, FROM, { hasOtherPort: hasOther, other });
      if (answer === null) return;
      const growth = answer.bytes.length - bytes.length;
      assert.ok(growth <= MAX_GROWTH, `${growth} bytes`);
      assert.ok(hasOther || answer.by === "same");
      const message = decodeMessage(answer.bytes);
      assert.ok(message?.class === "success" || message?.class === "error");
      assert.equal(toHex(message.transactionId), idOf(bytes));
    }),
    { numRuns: 2_000 },
  );
});

const NO_OTHERS = { hasOtherPort: false, other: null };
const SOURCES: [hostname: string, mapped: string | null][] = [
  ["192.0.2.1", "192.0.2.1:7"],
  ["::ffff:192.0.2.1", "192.0.2.1:7"],
  ["2001:DB8:0:0::1", "[2001:db8::1]:7"],
  ["nas", null],
];
for (const [hostname, mapped] of SOURCES) {
  Deno.test(`answerTo() tells ${hostname} that it is ${mapped}`, () => {
    const answer = answerTo(request(), { hostname, port: 7 }, NO_OTHERS);
    assert.equal(answer && decodeMessage(answer.bytes)!.mapped, mapped);
  });
}
