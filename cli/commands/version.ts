/**
 * `tunnelmesh version`: which program is this?
 * @module
 */
import { defineCommand } from "../command.ts";
import { VERSION } from "../version.ts";

export const version = defineCommand({
  name: "version",
  summary: "Show the version",
  examples: [{ command: "tunnelmesh version --json", meaning: "The same for a program" }],
  permissions: {},
  run(_input, { out }) {
    const facts = { version: VERSION, deno: Deno.version.deno, target: Deno.build.target };
    out.document(facts, () => [`tunnelmesh ${VERSION} (deno ${facts.deno}, ${facts.target})`]);
    return Promise.resolve();
  },
});
