import assert from "node:assert/strict";
import { decodeReply, encodeQuery } from "../dns/reply.ts";
import { type Query, RCODE, TYPE } from "../dns/message.ts";
import { Zone } from "../dns/zone.ts";
import { type Ip, parsePrefix } from "../ip.ts";
import { ContextNames } from "./dns_contexts.ts";
import { closeAfter, exchangeUdp } from "./dns_exchange.ts";
import { startDnsServer } from "./dns_server.ts";

const RANGES: Record<string, string> = { default: "172.30.0.0/16", work: "172.29.0.0/16" };

function zoneOf(context: string, names: Record<string, Ip>): Zone {
  const zone = new Zone(5, context);
  zone.setRanges([parsePrefix(RANGES[context]!)!]);
  const node = ([name, ip]: [string, Ip]) => ({ name, aliases: [], addresses: [ip] });
  zone.setNodes(Object.entries(names).map(node), []);
  return zone;
}

function interfaceOf(context: string, ip: Ip) {
  const prefixes = [parsePrefix(RANGES[context]!)!];
  return { context, name: `tun-${context}`, addresses: [ip], prefixes };
}

/** A machine with two contexts, seen from the resolver of one of them. */
class Machine {
  active: string | null = null;
  isOtherSilent = false;
  readonly asked: string[] = [];
  now = 0;
  readonly names: ContextNames;
  readonly #zones: Record<string, Zone>;

  constructor(own = "default", isAlone = false) {
    this.#zones = {
      default: zoneOf("default", { nas: "172.30.0.7", tv: "172.30.0.8", work: "172.30.0.9" }),
      work: zoneOf("work", { nas: "172.29.0.7", wiki: "172.29.0.8" }),
    };
    const other = own === "work" ? "default" : "work";
    const both = [interfaceOf("default", "172.30.0.2"), interfaceOf("work", "172.29.0.2")];
    this.names = new ContextNames({
      context: own,
      zone: this.#zones[own]!,
      active: () => this.active,
      interfaces: () => both.filter(({ context }) => context === own || !isAlone),
      clock: () => this.now,
      ask: (ip: Ip, query: Query, carrier) => {
        this.asked.push(`${ip} ${query.name.labels.join(".")}`);
        if (this.isOtherSilent) return Promise.resolve(null);
        const reply = this.#zones[other]!.answer(query.message, carrier);
        return Promise.resolve(reply.kind === "answer" ? reply.response : null);
      },
    });
  }

  async find(name: string, type: number = TYPE.a): Promise<string | null> {
    const answer = await this.names.answer(encodeQuery(7, name, type), "udp");
    return answer && decodeReply(answer)!.answers[0]!.text;
  }
}

for (const own of ["default", "work"]) {
  Deno.test(`names of both meshes, by the resolver of ${own}`, async () => {
    const machine = new Machine(own);
    assert.equal(await machine.find("tv.mesh"), "172.30.0.8");
    assert.equal(await machine.find("wiki.tm"), "172.29.0.8");
    assert.equal(await machine.find("nas.mesh"), "172.30.0.7");
    machine.active = "work";
    assert.equal(await machine.find("nas.mesh"), "172.29.0.7");
    machine.active = "gone";
    assert.equal(await machine.find("nas.mesh"), "172.30.0.7");
    assert.equal(await machine.find("NAS.Work.mesh"), "172.29.0.7");
    assert.equal(await machine.find("nas.default.mesh"), "172.30.0.7");
    // Neither mesh has it: the own zone says so.
    assert.equal(await machine.find("nobody.mesh"), null);
    assert.equal(await machine.find("example.org"), null);
  });
}

Deno.test("reverse names go to the mesh that has the address", async () => {
  const machine = new Machine();
  assert.equal(await machine.find("7.0.29.172.in-addr.arpa", TYPE.ptr), "nas.tunnelmesh");
  assert.equal(await machine.find("7.0.30.172.in-addr.arpa", TYPE.ptr), null);
  assert.deepEqual(machine.asked, ["172.29.0.2 7.0.29.172.in-addr.arpa"]);
});

Deno.test("a query without RD, and one on a machine with one context, stay in the zone", async () => {
  const machine = new Machine();
  const query = encodeQuery(7, "wiki.mesh", TYPE.a);
  query[2] = 0;
  assert.equal(await machine.names.answer(query, "udp"), null);
  assert.equal(await new Machine("default", true).find("nas.mesh"), null);
  assert.equal(await machine.names.answer(new Uint8Array(5), "udp"), null);
  assert.deepEqual(machine.asked, []);
});

Deno.test("a resolver that does not answer is left alone for a while", async () => {
  const machine = new Machine();
  machine.isOtherSilent = true;
  assert.equal(await machine.find("wiki.mesh"), null);
  assert.equal(await machine.find("wiki.mesh"), null);
  assert.equal(machine.asked.length, 1);
  machine.isOtherSilent = false;
  machine.now = 20_000;
  assert.equal(await machine.find("wiki.mesh"), "172.29.0.8");
});

Deno.test("members of another mesh are strangers, this machine's own addresses are not", () => {
  const { names } = new Machine();
  assert.equal(names.isStranger("172.29.0.7"), true);
  assert.equal(names.isStranger("172.29.0.2"), false);
  assert.equal(names.isStranger("172.30.0.7"), false);
  assert.equal(names.isStranger("192.0.2.1"), false);
  assert.deepEqual(names.withoutContexts(["172.29.0.2", "192.0.2.53"]), ["192.0.2.53"]);
});

Deno.test("a resolver refuses members of another mesh even its own names", async () => {
  // Asked from 127.0.0.1, which is then a member's address.
  const member = { ...interfaceOf("work", "127.0.0.9"), prefixes: [parsePrefix("127.0.0.0/8")!] };
  const zone = zoneOf("default", { nas: "172.30.0.7" });
  const ask = async (others: readonly ReturnType<typeof interfaceOf>[]) => {
    const contexts = new ContextNames({
      context: "default",
      zone,
      active: () => null,
      interfaces: () => others,
      ask: () => Promise.resolve(null),
    });
    const options = { zone, addresses: ["127.0.0.1"], port: 0, upstreams: () => [], contexts };
    const server = startDnsServer({ ...options, log: () => {} });
    const [ip, port] = server.listening[0]!.split(":");
    const message = encodeQuery(9, "nas.mesh", TYPE.a);
    const question = { message, questionEnd: message.length - 11 };
    const reply = await exchangeUdp({ ip: ip!, port: Number(port) }, question, closeAfter(2_000));
    await server.close();
    return reply![3]! & 15;
  };
  assert.equal(await ask([]), RCODE.noError);
  assert.equal(await ask([interfaceOf("work", "172.29.0.2")]), RCODE.noError);
  assert.equal(await ask([member]), RCODE.refused);
});
