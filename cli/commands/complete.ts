/**
 * `tunnelmesh __complete`: words that completion scripts ask for. Silent when there are none.
 * @module
 */
import { z } from "zod";
import { defineCommand } from "../command.ts";

export const complete = defineCommand({
  name: "__complete",
  summary: "Print words for completion scripts",
  hidden: true,
  input: z.strictObject({
    what: z.enum(["peers", "contexts"]).meta({
      positional: 0,
      description: "Which words",
    }),
  }),
  permissions: { opens: ["$control", "$contexts"] },
  async run({ what }, { out, daemon, contexts }) {
    try {
      if (what === "contexts") {
        (await contexts()).list().forEach(({ name }) => out.raw(`${name}\n`));
        return;
      }
      using client = await daemon();
      const { peers } = await client.status();
      const names = peers.flatMap(({ name, aliases }) => [name, ...aliases]);
      names.forEach((name) => out.raw(`${name}\n`));
    } catch {
      // A message in the middle of a command line would help nobody.
    }
  },
});
