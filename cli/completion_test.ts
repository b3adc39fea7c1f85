/**
 * Do shells understand the scripts, and do those complete what is there?
 * @module
 */
import assert from "node:assert/strict";
import { loadCommands } from "./commands.ts";
import { tempDir } from "./testing_host.ts";
import { completionModel, completionScript, type Shell } from "./completion.ts";

const SHELLS: Shell[] = ["bash", "zsh", "fish"];

async function hasProgram(name: string): Promise<boolean> {
  try {
    return (await new Deno.Command(name, { args: ["-c", "true"] }).output()).success;
  } catch {
    return false;
  }
}

for (const shell of SHELLS) {
  const isThere = await hasProgram(shell);
  Deno.test({
    name: `completionScript() for ${shell} has no syntax error`,
    ignore: !isThere,
    async fn() {
      const path = `${tempDir()}/script`;
      await Deno.writeTextFile(path, completionScript(shell, await loadCommands()));
      const { success, stderr } = await new Deno.Command(shell, { args: ["-n", path] }).output();
      assert(success, new TextDecoder().decode(stderr));
    },
  });

  Deno.test(`completionScript() for ${shell} knows every command and option`, async () => {
    const commands = await loadCommands();
    const script = completionScript(shell, commands);
    for (const { path, options, children } of completionModel(commands).nodes) {
      const names = [...options.map(({ long }) => long), ...children.map(({ name }) => name)];
      for (const name of names) {
        const shown = shell === "fish" ? name.replace(/^--/, "-l ") : name;
        assert(script.includes(shown), `${path} ${name}`);
      }
    }
    assert(script.includes("tunnelmesh __complete peers"));
    assert(!script.includes("/__complete"), "a hidden command is shown");
  });
}

/** Words that bash offers for the last of `words`. */
async function bashCompletes(words: readonly string[]): Promise<string[]> {
  const script = completionScript("bash", await loadCommands());
  const program = `${script}
tunnelmesh() { [ "$*" = "__complete peers" ] && echo anna bob; }
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tunnelmesh; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await new Deno.Command("bash", { args: ["-c", program, "bash", ...words] })
    .output();
  return new TextDecoder().decode(stdout).split("\n").filter(Boolean).sort();
}

const BASH_CASES: [words: string[], offered: string[]][] = [
  [["tunnelmesh", "s"], ["serve", "status"]],
  [["tunnelmesh", "--json", "tok"], ["token"]],
  [["tunnelmesh", "-c", "up", "tok"], ["token"]],
  [["tunnelmesh", "token", ""], ["create", "list", "revoke"]],
  [["tunnelmesh", "ping", ""], ["anna", "bob"]],
  [["tunnelmesh", "ping", "-c", "3", "b"], ["bob"]],
  [["tunnelmesh", "ping", "anna", ""], []],
  [["tunnelmesh", "ping", "--co"], ["--config", "--context", "--count"]],
  [["tunnelmesh", "init", "--server", "--pe"], ["--peer"]],
  [["tunnelmesh", "join", "--server", "up", "--to"], ["--token", "--token-file"]],
  [["tunnelmesh", "-l", "d"], ["debug"]],
  [["tunnelmesh", "completion", ""], ["bash", "fish", "zsh"]],
  [["tunnelmesh", "join", "--token", ""], []],
];

const hasBash = await hasProgram("bash");
for (const [words, offered] of BASH_CASES) {
  Deno.test({
    name: `bash completes "${words.join(" ")}"`,
    ignore: !hasBash,
    fn: async () => assert.deepEqual(await bashCompletes(words), offered),
  });
}
