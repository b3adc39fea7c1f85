/**
 * Completion scripts for shells, generated from the declarations of the commands.
 * @module
 */
import type { Command } from "./command.ts";
import { bashScript } from "./completion/bash.ts";
import { fishScript } from "./completion/fish.ts";
import type { CompletionModel, CompletionNode } from "./completion/node.ts";
import { zshScript } from "./completion/zsh.ts";
import { inputSpecOf } from "./input_options.ts";
import { GLOBAL_OPTIONS } from "./options.ts";

/** Shells that have a script. */
export type Shell = "bash" | "zsh" | "fish";

/** The script of one shell. */
export function completionScript(shell: Shell, commands: readonly Command[]): string {
  const model = completionModel(commands);
  switch (shell) {
    case "bash":
      return bashScript(model);
    case "zsh":
      return zshScript(model);
    case "fish":
      return fishScript(model);
  }
}

/** What the scripts know: every command that is shown, with its options and arguments. */
export function completionModel(commands: readonly Command[]): CompletionModel {
  const visible = commands.filter(({ hidden }) => !hidden);
  const root: CompletionNode = {
    path: "",
    spellings: [],
    children: visible.map(({ name, summary }) => ({ name, summary })),
    options: [],
    positionals: [],
  };
  return {
    nodes: [root, ...visible.flatMap((command) => nodesOf(command, ""))],
    globals: GLOBAL_OPTIONS,
  };
}

function nodesOf(command: Command, parent: string): CompletionNode[] {
  const path = `${parent}/${command.name}`;
  const { options, positionals } = inputSpecOf(command);
  const children = command.subcommands.filter(({ hidden }) => !hidden);
  return [
    {
      path,
      spellings: [path, ...command.aliases.map((alias) => `${parent}/${alias}`)],
      children: children.map(({ name, summary }) => ({ name, summary })),
      options: options.filter(({ isHidden }) => !isHidden),
      positionals,
    },
    ...children.flatMap((child) => nodesOf(child, path)),
  ];
}
