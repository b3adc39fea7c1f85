/**
 * Reverse names and zones against the examples of the RFCs.
 * @module
 */
import { strict as assert } from "node:assert";
import { parseIp, parsePrefix } from "../ip.ts";
import { reverseName, reverseZones } from "./reverse.ts";

Deno.test("reverseName() writes RFC 1035 and RFC 3596 names", () => {
  assert.equal(reverseName(parseIp("172.30.0.5")!), "5.0.30.172.in-addr.arpa");
  assert.equal(
    reverseName(parseIp("2001:db8::567:89ab")!),
    "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
  );
});

Deno.test("reverseZones() covers a range exactly", () => {
  const zones = (text: string) => reverseZones(parsePrefix(text)!);
  assert.deepEqual(zones("172.30.0.0/16"), ["30.172.in-addr.arpa"]);
  assert.deepEqual(zones("10.0.0.0/8"), ["10.in-addr.arpa"]);
  assert.deepEqual(zones("172.30.4.0/22"), [4, 5, 6, 7].map((n) => `${n}.30.172.in-addr.arpa`));
  assert.equal(zones("100.64.0.0/10").length, 64);
  assert.deepEqual(zones("fd00::/8"), ["d.f.ip6.arpa"]);
  assert.deepEqual(zones("2001:db8::/31"), [
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "9.b.d.0.1.0.0.2.ip6.arpa",
  ]);
  assert.deepEqual(zones("0.0.0.0/0"), []);
});
