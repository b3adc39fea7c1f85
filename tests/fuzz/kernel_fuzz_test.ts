import assert from "node:assert/strict";
import { fuzzDatagrams, fuzzPackets } from "./kernel_fuzz.ts";

const RUNS = 200_000;

Deno.test("the kernel opens no datagram that was changed, and writes nowhere else", () => {
  const accepted = fuzzDatagrams(1, RUNS);
  assert.ok(accepted > RUNS / 100, `${accepted} were accepted`);
});

Deno.test("the kernel cuts and joins hostile packets without leaving their memory", () => {
  const joined = fuzzPackets(2, RUNS);
  assert.ok(joined > RUNS / 100, `${joined} were joined`);
});
