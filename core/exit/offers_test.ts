import { strict as assert } from "node:assert";
import type { FilterRule } from "../filter/rules.ts";
import { formatPrefix, parseIp, parsePrefix, prefixContains } from "../ip.ts";
import {
  clashOf,
  destinationsOf,
  exitPrefixes,
  formatOffer,
  isSameOffer,
  NO_OFFERS,
  offeredRules,
  offerFields,
  offersOf,
  parseOffer,
} from "./offers.ts";

const MESH = ["172.30.0.0/16", "fd00:1::/48"].map((text) => parsePrefix(text)!);

Deno.test("parseOffer() reads a network, and one that the mesh knows by another range", () => {
  assert.deepEqual(parseOffer("192.168.7.0/24"), { prefix: "192.168.7.0/24" });
  const mapped = { prefix: "192.168.7.0/24", mapped: "10.77.7.0/24" };
  assert.deepEqual(parseOffer(" 192.168.7.0/24  as 10.77.7.0/24 "), mapped);
  assert.equal(formatOffer(mapped), "192.168.7.0/24 as 10.77.7.0/24");
  assert.deepEqual(parseOffer("fd07::/64 as fd08::/64"), {
    prefix: "fd07::/64",
    mapped: "fd08::/64",
  });
  const wrong = [
    "",
    "192.168.7.0",
    "192.168.7.1/24",
    "0.0.0.0/0",
    "::/0",
    "192.168.7.0/24 as",
    "192.168.7.0/24 to 10.77.7.0/24",
    "192.168.7.0/24 as 10.77.0.0/16",
    "192.168.7.0/24 as fd00::/24",
    "192.168.7.0/24 as 10.77.7.0/24 too",
  ];
  assert.deepEqual(wrong.filter((text) => text !== "192.168.7.0" && parseOffer(text) !== null), []);
  assert.deepEqual(parseOffer("192.168.7.9"), { prefix: "192.168.7.9/32" });
});

Deno.test("offerFields() states what offersOf() reads, and nothing where nothing is offered", () => {
  const offers = { isExit: true, routes: [{ prefix: "192.168.7.0/24", mapped: "10.77.7.0/24" }] };
  assert.deepEqual(offersOf(offerFields(offers)), offers);
  assert.deepEqual(offerFields(NO_OFFERS), {});
  assert.deepEqual(offersOf({}), NO_OFFERS);
});

Deno.test("isSameOffer() does not mind the order of networks", () => {
  const [a, b] = [{ prefix: "10.1.0.0/16" }, { prefix: "10.2.0.0/16" }];
  assert.ok(isSameOffer({ isExit: false, routes: [a, b] }, { isExit: false, routes: [b, a] }));
  assert.ok(!isSameOffer({ isExit: true, routes: [a] }, { isExit: false, routes: [a] }));
  const mapped = { ...a, mapped: "10.9.0.0/16" };
  assert.ok(!isSameOffer({ isExit: false, routes: [a] }, { isExit: false, routes: [mapped] }));
});

Deno.test("clashOf() finds addresses of the mesh, and of another network of the same node", () => {
  const clash = (...texts: string[]) => {
    const found = clashOf(texts.map((text) => parseOffer(text)!), MESH);
    return found && formatOffer(found);
  };
  assert.equal(clash("192.168.7.0/24", "10.0.0.0/8"), null);
  assert.equal(clash("172.16.0.0/12"), "172.16.0.0/12");
  assert.equal(clash("10.1.0.0/24 as 172.30.7.0/24"), "10.1.0.0/24 as 172.30.7.0/24");
  // By the range that the mesh knows it by, it may be what it likes.
  assert.equal(clash("172.30.7.0/24 as 10.1.0.0/24"), null);
  assert.equal(clash("10.1.0.0/16", "10.1.2.0/24"), "10.1.2.0/24");
});

Deno.test("exitPrefixes() is the internet without private networks and without the mesh", () => {
  const has = (ranges: typeof MESH, ip: string) =>
    exitPrefixes(ranges).some((prefix) => prefixContains(prefix, parseIp(ip)!));
  for (const ip of ["1.1.1.1", "203.0.113.9", "2606:4700::1111"]) assert.ok(has(MESH, ip), ip);
  const others = ["10.0.0.1", "192.168.1.1", "172.30.0.9", "127.0.0.1", "224.0.0.1", "fd00:1::9"];
  for (const ip of [...others, "169.254.169.254", "100.64.0.1", "::1"]) {
    assert.ok(!has(MESH, ip), ip);
  }
  // A mesh with public addresses keeps them.
  const odd = [parsePrefix("198.18.0.0/16")!, parsePrefix("2001:db8::/32")!];
  assert.ok(!has(odd, "198.18.3.4") && has(odd, "198.19.3.4"));
  assert.ok(!has(odd, "2001:db8::1") && has(odd, "2001:db9::1"));
});

const RULE: FilterRule = {
  id: "r",
  layer: "coordinator",
  action: "allow",
  sources: null,
  protocol: "any",
  ports: null,
  destinations: null,
  origin: { where: "test", comment: "" },
};

Deno.test("offeredRules() leaves of a policy what the node offers, denials too", () => {
  const about = (action: "allow" | "deny", ...texts: string[]): FilterRule => ({
    ...RULE,
    action,
    destinations: texts.map((text) => parsePrefix(text)!),
  });
  const rules = [
    RULE,
    about("allow", "0.0.0.0/0", "::/0"),
    about("deny", "10.77.7.0/28"),
    about("allow", "10.99.0.0/16"),
  ];
  const seen = (offers: Parameters<typeof destinationsOf>[0]) =>
    offeredRules(rules, destinationsOf(offers, MESH))
      .map(({ action, destinations }) => [action, destinations?.map(formatPrefix) ?? null]);
  assert.deepEqual(seen(NO_OFFERS), [["allow", null]]);
  const route = { prefix: "192.168.7.0/24", mapped: "10.77.7.0/24" };
  assert.deepEqual(seen({ isExit: false, routes: [route] }), [
    ["allow", null],
    ["allow", ["10.77.7.0/24"]],
    ["deny", ["10.77.7.0/28"]],
  ]);
});
