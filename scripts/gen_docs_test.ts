/**
 * Do the generated pages and sets say what the declarations say?
 * @module
 */
import assert from "node:assert/strict";
import { visibleCommands } from "../cli/commands.ts";
import { ERRORS } from "../core/errors.ts";
import { pages } from "./gen_docs.ts";
import { WIDE_SET } from "../cli/permissions.ts";
import { permissionSets } from "./gen_permissions.ts";

Deno.test("the reference pages name every command, setting and error", async () => {
  const [cli, config, errors] = (await pages()).map(({ text }) => text);
  for (const { path } of await visibleCommands()) assert(cli!.includes(`\n## ${path}\n`), path);
  for (const code of Object.keys(ERRORS)) assert(errors!.includes(`| \`${code}\` |`), code);
  for (const key of ["tun.mtu", "coordinator.listen", "exit_node", "join_mesh", "public_key"]) {
    assert(config!.includes(`\`${key}\``), key);
  }
  assert(!cli!.includes("__complete"));
});

Deno.test("permission sets are named like commands, and the default one is the start of all", async () => {
  const sets = permissionSets(await visibleCommands());
  assert(Object.hasOwn(sets, "token-create"));
  assert.equal(sets.status?.ffi, undefined);
  assert.deepEqual(sets.default, WIDE_SET);
});
