/**
 * Are mistyped words recognised, and others left alone?
 * @module
 */
import assert from "node:assert/strict";
import { nearest } from "./nearest.ts";

const COMMANDS = ["up", "join", "leave", "serve", "status", "peers", "resolve", "ping"];

const CASES: [word: string, expected: string | null][] = [
  ["stauts", "status"],
  ["stat", "status"],
  ["pign", "ping"],
  ["JION", "join"],
  ["peer", "peers"],
  ["serv", "serve"],
  ["pu", "up"],
  ["xyzzy", null],
  ["configuration", null],
  ["", null],
];

for (const [word, expected] of CASES) {
  Deno.test(`nearest() of "${word}" is ${expected}`, () => {
    assert.equal(nearest(word, COMMANDS), expected);
  });
}
