/**
 * Completion scripts for shells, generated from the declarations of the commands.
 * @module
 */
import type { Command } from "./command.ts";
import { bashScript } from "./completion/bash.ts";
import { fishScript } from "./completion/fish.ts";
import type { CompletionNode } from "./completion/node.ts";
import { zshScript } from "./completion/zsh.ts";
import { inputSpecOf } from "./input_options.ts";
import { GLOBAL_OPTIONS } from "./options.ts";

/** Shells that have a script. */
export type Shell = "bash" | "zsh" | "fish";

/** The script of one shell. */
export function completionScript(shell: Shell, commands: readonly Command[]): string {
  const nodes = completionNodes(commands);
  switch (shell) {
    case "bash":
      return bashScript(nodes);
    case "zsh":
      return zshScript(nodes);
    case "fish":
      return fishScript(nodes);
  }
}

/** The program itself, every group and every command, parents first. */
export function completionNodes(commands: readonly Command[]): CompletionNode[] {
  const visit = (command: Command, parent: string): CompletionNode[] => {
    const path = `${parent}/${command.name}`;
    const { options, positionals } = inputSpecOf(command);
    const taken = new Set(options.map(({ short }) => short).filter((short) => short !== null));
    const global = GLOBAL_OPTIONS.map((option) =>
      option.short !== null && taken.has(option.short) ? { ...option, short: null } : option
    );
    const children = command.subcommands.filter(({ hidden }) => !hidden);
    return [
      {
        path,
        spellings: [path, ...command.aliases.map((alias) => `${parent}/${alias}`)],
        children: children.map(({ name, summary }) => ({ name, summary })),
        options: [...options.filter(({ isHidden }) => !isHidden), ...global],
        positionals,
      },
      ...children.flatMap((child) => visit(child, path)),
    ];
  };
  const visible = commands.filter(({ hidden }) => !hidden);
  const root: CompletionNode = {
    path: "",
    spellings: [],
    children: visible.map(({ name, summary }) => ({ name, summary })),
    options: GLOBAL_OPTIONS,
    positionals: [],
  };
  return [root, ...visible.flatMap((command) => visit(command, ""))];
}
