/**
 * The completion script for bash.
 * @module
 */
import type { OptionSpec, PositionalSpec } from "../options.ts";
import { askCommand, type CompletionNode, spellingsOf, valueOptions } from "./node.ts";

/** @param nodes The program first. */
export function bashScript(nodes: readonly CompletionNode[]): string {
  return `# bash completion for tunnelmesh; made by \`tunnelmesh completion bash\`

_tunnelmesh() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  local at="" count=0 i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      ${valueOptions(nodes).join("|")}) ((i++)); continue ;;
      -*) continue ;;
    esac
    case "$at/$word" in
${nodes.filter(({ path }) => path !== "").map(walkCase).join("\n")}
      *) ((count++)) ;;
    esac
  done

  case "$at $prev" in
${nodes.flatMap(valueCases).join("\n")}
  esac

  if [[ "$cur" == -* ]]; then
    case "$at" in
${nodes.map(optionCase).join("\n")}
    esac
    return
  fi
  case "$at $count" in
${nodes.flatMap(wordCases).join("\n")}
  esac
}

complete -F _tunnelmesh tunnelmesh
`;
}

function walkCase({ path, spellings }: CompletionNode): string {
  return `      ${spellings.join("|")}) at="${path}"; count=0 ;;`;
}

/** One case per group of options of a node whose values complete alike. */
function valueCases({ path, options }: CompletionNode): string[] {
  const byReply = new Map<string, string[]>();
  for (const option of options) {
    if (option.kind === "flag") continue;
    const reply = replyOf(option);
    byReply.set(reply, [...byReply.get(reply) ?? [], ...spellingsOf(option)]);
  }
  return [...byReply].map(([reply, names]) =>
    `    ${names.map((name) => `"${path} ${name}"`).join("|")}) ${reply} return ;;`
  );
}

function optionCase({ path, options }: CompletionNode): string {
  const words = options.flatMap(spellingsOf).join(" ");
  return `      "${path}") COMPREPLY=($(compgen -W "${words}" -- "$cur")) ;;`;
}

function wordCases({ path, children, positionals }: CompletionNode): string[] {
  if (children.length > 0) {
    const words = children.map(({ name }) => name).join(" ");
    return [`    "${path} 0") COMPREPLY=($(compgen -W "${words}" -- "$cur")) ;;`];
  }
  return positionals.map((positional, index) => {
    const reply = replyOf(positional);
    return `    "${path} ${index}") ${reply === "" ? ":" : reply.replace(/;$/, "")} ;;`;
  });
}

/** Commands that fill COMPREPLY with values; empty when nothing completes them. */
function replyOf({ choices, completes }: OptionSpec | PositionalSpec): string {
  if (choices.length > 0) return `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$cur"));`;
  if (completes === "files") {
    return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"));`;
  }
  if (completes === null) return "";
  return `COMPREPLY=($(compgen -W "$(${askCommand(completes)})" -- "$cur"));`;
}
