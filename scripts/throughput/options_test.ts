import { strict as assert } from "node:assert";
import { ALL_NAMES } from "./contenders.ts";
import { HELP, parseOptions } from "./options.ts";

Deno.test("parseOptions() measures everything by default", () => {
  const options = parseOptions([]);
  assert.deepEqual(options.names, ALL_NAMES);
  assert.ok(options.rounds > 1);
  assert.ok(options.mayInstall && !options.isJson && !options.isHelp);
});

Deno.test("parseOptions() makes --quick one round, unless told otherwise", () => {
  assert.equal(parseOptions(["--quick"]).rounds, 1);
  const options = parseOptions(["--quick", "--rounds", "4", "--seconds", "7"]);
  assert.equal(options.rounds, 4);
  assert.equal(options.durations.tcpSeconds, 7);
});

Deno.test("parseOptions() takes names and paths", () => {
  const options = parseOptions(["--only", "nebula, tunnelmesh", "--nebula", "/opt/nebula"]);
  assert.deepEqual(options.names, ["nebula", "tunnelmesh"]);
  assert.equal(options.paths["nebula"], "/opt/nebula");
});

const REFUSED: [args: string[], message: RegExp][] = [
  [["--only", "openvpn"], /Cannot measure "openvpn": --only takes tunnelmesh, /],
  [["--only", ""], /Cannot measure ""/],
  [["--rounds", "0"], /Cannot use --rounds 0/],
  [["--seconds", "1.5"], /Cannot use --seconds 1.5/],
  [["--fast"], /--fast/],
];

for (const [args, message] of REFUSED) {
  Deno.test(`parseOptions() refuses ${args.join(" ")}`, () => {
    assert.throws(() => parseOptions(args), message);
  });
}

Deno.test("the help names everything that can be measured", () => {
  for (const name of ALL_NAMES) assert.ok(HELP.includes(name), name);
});
