/**
 * `tunnelmesh completion`: scripts that complete command lines in a shell.
 * @module
 */
import { z } from "zod";
import { defineCommand } from "../command.ts";

export const completion = defineCommand({
  name: "completion",
  summary: "Print a completion script for bash, zsh or fish",
  description: "It completes commands, options and the names of peers and contexts.",
  examples: [
    {
      command: "tunnelmesh completion bash | sudo tee /etc/bash_completion.d/tunnelmesh",
      meaning: "For all users of bash",
    },
    {
      command: "tunnelmesh completion zsh > ~/.zfunc/_tunnelmesh",
      meaning: "For zsh, where ~/.zfunc is in fpath",
    },
    {
      command: "tunnelmesh completion fish > ~/.config/fish/completions/tunnelmesh.fish",
      meaning: "For fish",
    },
  ],
  input: z.strictObject({
    shell: z.enum(["bash", "zsh", "fish"]).meta({
      positional: 0,
      description: "The shell: bash, zsh or fish",
    }),
  }),
  permissions: {},
  async run({ shell }, { out, commands }) {
    const { completionScript } = await import("../completion.ts");
    const script = completionScript(shell, await commands());
    if (out.isJson) out.document({ shell, script }, () => []);
    else out.raw(script);
  },
});
