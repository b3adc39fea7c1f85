/**
 * Do words on the command line become the values that were meant?
 * @module
 */
import assert from "node:assert/strict";
import { z } from "zod";
import { MeshError } from "../core/errors.ts";
import { defineCommand } from "./command.ts";
import { usageOf } from "./help.ts";
import { inputSpecOf } from "./input_options.ts";
import { globalOptions, parseArguments, splitArguments, unknownCommand } from "./parse.ts";

const COMMAND = defineCommand({
  name: "probe",
  summary: "Probe",
  input: z.strictObject({
    target: z.string().meta({ positional: 0, description: "What" }),
    extra: z.string().optional().meta({ positional: 1, description: "More" }),
    count: z.int().default(4).meta({ alias: "c", description: "How many" }),
    udpPort: z.int().optional().meta({ description: "Port" }),
    tag: z.array(z.string()).optional().meta({ alias: "t", description: "Tags" }),
    noDns: z.boolean().default(false).meta({ alias: "n", description: "No names" }),
    force: z.boolean().default(false).meta({ alias: "f", description: "Anyway" }),
  }),
  permissions: {},
  run: () => Promise.resolve(),
});
const SPEC = inputSpecOf(COMMAND);

function parse(...words: string[]) {
  return parseArguments(SPEC, words, "tm probe");
}

const VALUES: [words: string[], values: Record<string, unknown>][] = [
  [["a"], { target: "a" }],
  [["a", "b"], { target: "a", extra: "b" }],
  [["a", "--count", "3"], { target: "a", count: 3 }],
  [["--count=3", "a"], { target: "a", count: 3 }],
  [["-c", "3", "a"], { target: "a", count: 3 }],
  [["-c3", "a"], { target: "a", count: 3 }],
  [["a", "--count", "-3"], { target: "a", count: -3 }],
  [["a", "--count", "many"], { target: "a", count: "many" }],
  [["a", "--udp-port", "0x10"], { target: "a", udpPort: 16 }],
  [["a", "--tag", "x", "-t", "y", "--tag=z"], { target: "a", tag: ["x", "y", "z"] }],
  [["a", "--tag", ""], { target: "a", tag: [""] }],
  [["a", "-nf"], { target: "a", noDns: true, force: true }],
  [["a", "-nfc", "2"], { target: "a", noDns: true, force: true, count: 2 }],
  [["a", "--count", "1", "--count", "2"], { target: "a", count: 2 }],
  [["--", "-a", "--force"], { target: "-a", extra: "--force" }],
  [["-"], { target: "-" }],
];

for (const [words, values] of VALUES) {
  Deno.test(`parseArguments() of "${words.join(" ")}"`, () => {
    assert.deepEqual(parse(...words).values, values);
  });
}

const REFUSED: [words: string[], message: RegExp, hint: RegExp][] = [
  [[], /TARGET is missing/, /tm probe --help/],
  [["a", "b", "c"], /unexpected argument "c"/, /--help/],
  [["a", "--conut", "3"], /unknown option --conut/, /Did you mean --count\?/],
  [["a", "--udp_port", "3"], /unknown option --udp_port/, /Did you mean --udp-port\?/],
  [["a", "--jsno"], /unknown option --jsno/, /Did you mean --json\?/],
  [["a", "--xyzzy"], /unknown option --xyzzy/, /--help/],
  [["a", "-x"], /unknown option -x/, /--help/],
  [["-Zx09_aBcDe"], /unknown option -Zx09_aBcDe/, /write `--` before it/],
  [["a", "--count"], /--count needs a value/, /Write --count N/],
  [["a", "--tag", "--force"], /--tag needs a value/, /Write --tag TEXT/],
  [["a", "--count="], /--count needs a value/, /Write --count N/],
  [["a", "--force=yes"], /--force takes no value/, /^$/],
];

for (const [words, message, hint] of REFUSED) {
  Deno.test(`parseArguments() refuses "${words.join(" ")}"`, () => {
    assert.throws(() => parse(...words), (error) => {
      assert(error instanceof MeshError);
      assert.equal(error.code, "usage");
      assert.match(error.message, message);
      assert.match(error.hint ?? "", hint);
      return true;
    });
  });
}

Deno.test("parseArguments() keeps global options apart, a command's own letter winning", () => {
  const { values, globals } = parse("a", "--json", "-c", "2", "--config", "f", "-l", "debug");
  assert.deepEqual(values, { target: "a", count: 2 });
  assert.deepEqual(globals, { json: true, config: "f", logLevel: "debug" });
});

Deno.test("parseArguments() asks for no argument when help is wanted", () => {
  assert.deepEqual(parse("--help").globals, { help: true });
});

Deno.test("splitArguments() takes global options before the command", () => {
  assert.deepEqual(splitArguments(["--json", "-c", "f", "status", "--x"], "tm"), {
    before: { json: true, config: "f" },
    command: "status",
    rest: ["--x"],
  });
  assert.equal(splitArguments(["--json"], "tm").command, null);
  assert.throws(() => splitArguments(["--jsno", "status"], "tm"), /unknown option --jsno/);
});

Deno.test("globalOptions() takes the command line first, then the environment", () => {
  const env = { TUNNELMESH_CONTEXT: "work", TUNNELMESH_CONFIG: "/f", TUNNELMESH_IDENTITY: "" };
  const globals = globalOptions({ context: "home", json: true }, env);
  assert.deepEqual(globals, {
    json: true,
    help: false,
    config: "/f",
    logLevel: null,
    context: "home",
    identity: null,
    stateDir: null,
  });
});

Deno.test("unknownCommand() suggests the nearest command", () => {
  assert.equal(unknownCommand("tm", "stauts", ["status"]).hint, "Did you mean `tm status`?");
  assert.match(unknownCommand("tm", "xyzzy", ["status"]).hint ?? "", /tm --help/);
});

Deno.test("parseArguments() gives all words that are left to an argument that repeats", () => {
  const command = defineCommand({
    name: "probe",
    summary: "Probe",
    input: z.strictObject({
      group: z.string().meta({ positional: 0, description: "Where" }),
      files: z.array(z.string()).min(1).meta({ positional: 1, description: "What" }),
      yes: z.boolean().default(false).meta({ description: "Go on" }),
    }),
    permissions: {},
    run: () => Promise.resolve(),
  });
  const spec = inputSpecOf(command);
  const { values } = parseArguments(spec, ["g", "a", "--yes", "b"], "tm probe");
  assert.deepEqual(values, { group: "g", files: ["a", "b"], yes: true });
  assert.throws(() => parseArguments(spec, ["g"], "tm probe"), /FILES is missing/);
  assert.equal(usageOf("tm probe", spec), "tm probe GROUP FILES... [OPTIONS]");
});
