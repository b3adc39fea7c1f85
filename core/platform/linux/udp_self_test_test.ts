import assert from "node:assert/strict";
import { libc } from "./libc.ts";
import { testUdpOffloads } from "./udp_self_test.ts";

const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
if (mayLoad) libc();

Deno.test("testUdpOffloads() reports no more than was wanted, and leaves no socket open", () => {
  const name = "testUdpOffloads()";
  if (!mayLoad) return console.log(`SKIP: ${name}: needs --allow-ffi`);
  const openFiles = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = openFiles();
  assert.deepEqual(testUdpOffloads({ gso: false, gro: false }), { gso: false, gro: false });
  assert.equal(testUdpOffloads({ gso: true, gro: false }).gro, false);
  testUdpOffloads({ gso: true, gro: true });
  assert.equal(openFiles(), before);
});
