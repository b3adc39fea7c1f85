import { strict as assert } from "node:assert";
import { ownRules, type Route, ruleChanges, staleRoutes } from "./routing.ts";

/** What `ip -N -json rule show` prints on a machine with rules of ours and of others. */
const LISTING = JSON.stringify([
  { priority: 0, src: "all", table: "255" },
  { priority: 4200, src: "all", fwmark: "0x2174", table: "254", protocol: "84" },
  {
    priority: 4201,
    src: "all",
    dst: "192.0.2.1",
    ipproto: "ipproto-6",
    dport: 443,
    table: "254",
    protocol: "84",
  },
  { priority: 4203, src: "all", table: "52", protocol: "2" },
  {
    priority: 4204,
    src: "all",
    dst: "10.0.0.0",
    dstlen: 8,
    table: "254",
    suppress_prefixlen: 0,
    protocol: "84",
  },
  { priority: 5205, src: "all", table: "8565", protocol: "84" },
]);

Deno.test("ownRules() reads back what was written, and nothing of others or of another context", () => {
  assert.deepEqual(ownRules(LISTING, 4200, 6), [
    "priority 4200 fwmark 0x2174 lookup main protocol 84",
    "priority 4201 to 192.0.2.1/32 ipproto tcp dport 443 lookup main protocol 84",
    "priority 4204 to 10.0.0.0/8 lookup main suppress_prefixlength 0 protocol 84",
  ]);
});

Deno.test("ruleChanges() adds before it removes, and leaves alone what stays", () => {
  assert.deepEqual(ruleChanges(["a", "b"], ["b", "c"]), ["rule add c", "rule delete a"]);
  assert.deepEqual(ruleChanges(["a"], ["a"]), []);
});

Deno.test("staleRoutes() removes ours that are no longer wanted, and refuses a table of others", () => {
  const wanted: Route[] = [{ family: 6, prefix: "::/0", table: 7, device: null }];
  const ours = [
    { dst: "::/1", dev: "tm0", protocol: "84" },
    // As `ip -Numeric` of iproute2 6.1 writes it, and as others may.
    { type: "7", dst: "default", dev: "lo", protocol: "84" },
    { type: "unreachable", dst: "default", dev: "lo", protocol: "84" },
  ];
  assert.deepEqual(staleRoutes(JSON.stringify(ours), 6, 7, wanted), [
    "route delete ::/1 dev tm0 table 7 proto 84",
  ]);
  assert.deepEqual(staleRoutes("", 6, 7, wanted), []);
  const others = [...ours, { dst: "10.0.0.0/8", dev: "eth0", protocol: "3" }];
  assert.equal(staleRoutes(JSON.stringify(others), 6, 7, wanted), null);
});
