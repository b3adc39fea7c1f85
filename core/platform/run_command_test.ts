import { strict as assert } from "node:assert";
import { outputOf, runCommand } from "./run_command.ts";

const mayRun = Deno.build.os === "linux" &&
  Deno.permissions.querySync({ name: "run" }).state === "granted";

Deno.test("runCommand() hands over words and input as they are, and says how it ended", async () => {
  if (!mayRun) return console.log("SKIP: runCommand(): needs --allow-run on Linux");
  const word = "$(id); 'x'\" *";
  const echo = await runCommand({ argv: ["/bin/echo", word], input: "" });
  assert.deepEqual(echo, { code: 0, stdout: `${word}\n`, stderr: "" });
  assert.equal((await runCommand({ argv: ["/bin/cat"], input: "a\nb" })).stdout, "a\nb");
  assert.equal((await runCommand({ argv: ["/bin/false"], input: "x".repeat(1 << 20) })).code, 1);
});

Deno.test("outputOf() says what a program said that failed, and what to look at", async () => {
  const failing = () => Promise.resolve({ code: 3, stdout: "", stderr: "no such thing\n" });
  const command = { argv: ["/sbin/route", "get"] as const, input: "" };
  await assert.rejects(outputOf(failing, command, "list routes"), {
    code: "system",
    message: "Cannot list routes: no such thing",
    hint: "See what keeps this from working: /sbin/route get",
  });
  const silent = () => Promise.resolve({ code: 3, stdout: "", stderr: "" });
  await assert.rejects(outputOf(silent, command, "list routes"), /Cannot list routes: status 3/);
});

Deno.test("runCommand() says which program there is not", async () => {
  if (!mayRun) return console.log("SKIP: runCommand(): needs --allow-run on Linux");
  await assert.rejects(runCommand({ argv: ["/nowhere/route"], input: "" }), {
    code: "system",
    message: /^Cannot run \/nowhere\/route: /,
  });
});
