/**
 * Golden help texts, and what holds for the help of every command.
 * @module
 */
import assert from "node:assert/strict";
import type { Command } from "./command.ts";
import { COMMANDS, loadCommands, visibleCommands } from "./commands.ts";
import { commandHelp, groupHelp, rootHelp } from "./help.ts";
import { inputSpecOf } from "./input_options.ts";
import { GLOBAL_OPTIONS } from "./options.ts";

const STYLE = { width: 80, bold: (text: string) => text };

async function commandOf(path: string): Promise<Command> {
  return (await visibleCommands()).find((each) => each.path === path)!.command;
}

Deno.test("rootHelp() names every command that is shown, and the exit statuses", async () => {
  const commands = await loadCommands();
  const text = rootHelp(commands, STYLE).join("\n");
  for (const { name, summary, hidden } of commands) {
    assert.equal(text.includes(`\n  ${name} `), !hidden, name);
    assert(hidden || text.includes(summary));
  }
  assert.match(text, /Exit status:\n {2}0 {2}done\n {2}1 {2}failed\n/);
  assert(!text.includes("__complete"));
});

Deno.test("commandHelp() of ping", async () => {
  const command = await commandOf("tunnelmesh ping");
  assert.equal(
    commandHelp(command, inputSpecOf(command), "tunnelmesh ping", STYLE).join("\n"),
    `\
Measure the round trip to a peer and show the path each reply took

Usage: tunnelmesh ping PEER [OPTIONS]

Exit status 0 when a reply came, 1 when none did.

Arguments:
  PEER  Name, alias or address of a peer

Options:
  -c, --count N     Probes to send (default: 4)
  -i, --interval N  Time between probes, in ms (default: 1000)
  -W, --timeout N   Wait for each reply, in ms (default: 1000)

Options of every command:
  -h, --help, --json, --config FILE, --context NAME, --identity FILE,
  --state-dir DIR, -l, --log-level LEVEL
  \`tunnelmesh --help\` explains them.

Examples:
  tunnelmesh ping anna
      Four probes, one per second
  tunnelmesh ping anna -c 20 --interval 200
      Twenty, five per second`,
  );
});

Deno.test("groupHelp() of token", async () => {
  const command = await COMMANDS.token!();
  assert.equal(
    groupHelp(command, "tunnelmesh token", STYLE).join("\n"),
    `\
Make, list and revoke join tokens

Usage: tunnelmesh token COMMAND [OPTIONS]

Commands:
  create, add         Make a join token and print the line to paste on the other
                      machine
  list, ls            List the join tokens
  revoke, rm, delete  Make a join token useless`,
  );
});

Deno.test("every command's name is the word that calls it", async () => {
  for (const [word, load] of Object.entries(COMMANDS)) {
    assert.equal((await load()).name, word);
  }
});

Deno.test("every command's declaration is whole and unambiguous", async () => {
  for (const { path, command } of await visibleCommands()) {
    const { options, positionals } = inputSpecOf(command);
    assert(command.summary.length <= 72 && !command.summary.endsWith("."), path);
    const longs = [...options, ...GLOBAL_OPTIONS].map(({ long }) => long);
    assert.equal(new Set(longs).size, longs.length, `${path} has an option twice`);
    const shorts = options.map(({ short }) => short).filter((short) => short !== null);
    assert.equal(new Set(shorts).size, shorts.length, `${path} has a letter twice`);
    for (const { long, description } of options) assert(description.length > 5, `${path} ${long}`);
    const firstOptional = positionals.findIndex(({ isRequired }) => !isRequired);
    assert(firstOptional < 0 || positionals.slice(firstOptional).every((each) => !each.isRequired));
    for (const { command: example } of command.examples) {
      assert(example.replace(/^sudo /, "").startsWith(path), `${path}: ${example}`);
    }
  }
});

Deno.test("help fits into 80 columns, but for examples", async () => {
  for (const { path, command } of await visibleCommands()) {
    for (const line of commandHelp(command, inputSpecOf(command), path, STYLE)) {
      assert(line.length <= 80 || line.startsWith("  sudo ") || line.startsWith("  tunnel"), line);
    }
  }
});
