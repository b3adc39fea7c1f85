/**
 * The completion script for bash.
 * @module
 */
import type { OptionSpec, PositionalSpec } from "../options.ts";
import {
  askCommand,
  type CompletionModel,
  type CompletionNode,
  spellingsOf,
  valued,
} from "./node.ts";

/** Text to source, or to put into bash_completion.d. */
export function bashScript({ nodes, globals }: CompletionModel): string {
  const ownValued = nodes.flatMap(({ path, options }) =>
    valued(options).flatMap(spellingsOf).map((name) => `"${path} ${name}"`)
  );
  return `# bash completion for tunnelmesh; made by \`tunnelmesh completion bash\`

_tunnelmesh() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  local at="" count=0 own="" i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$at $word" in
      ${ownValued.join("|")}) ((i++)); continue ;;
    esac
    case "$word" in
      ${valued(globals).flatMap(spellingsOf).join("|")}) ((i++)); continue ;;
      -*) continue ;;
    esac
    case "$at/$word" in
${nodes.filter(({ path }) => path !== "").map(walkCase).join("\n")}
      *) ((count++)) ;;
    esac
  done

  case "$at $prev" in
${nodes.flatMap(({ path, options }) => valueCases(options, path)).join("\n")}
  esac
  case "$prev" in
${valueCases(globals, null).join("\n")}
  esac

  if [[ "$cur" == -* ]]; then
    case "$at" in
${nodes.filter(({ options }) => options.length > 0).map(optionCase).join("\n")}
    esac
    COMPREPLY=($(compgen -W "$own ${globals.flatMap(spellingsOf).join(" ")}" -- "$cur"))
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

/** One case per group of options whose values complete alike; `path` null for global ones. */
function valueCases(options: readonly OptionSpec[], path: string | null): string[] {
  const byReply = new Map<string, string[]>();
  for (const option of valued(options)) {
    const reply = replyOf(option);
    byReply.set(reply, [...byReply.get(reply) ?? [], ...spellingsOf(option)]);
  }
  return [...byReply].map(([reply, names]) => {
    const patterns = path === null ? names : names.map((name) => `"${path} ${name}"`);
    return `    ${patterns.join("|")}) ${reply === "" ? "" : `${reply}; `}return ;;`;
  });
}

function optionCase({ path, options }: CompletionNode): string {
  return `      "${path}") own="${options.flatMap(spellingsOf).join(" ")}" ;;`;
}

function wordCases({ path, children, positionals }: CompletionNode): string[] {
  if (children.length > 0) {
    const words = children.map(({ name }) => name).join(" ");
    return [`    "${path} 0") COMPREPLY=($(compgen -W "${words}" -- "$cur")) ;;`];
  }
  return positionals.flatMap((positional, i) => {
    const reply = replyOf(positional);
    const place = positional.isRepeated ? `"${path} "*` : `"${path} ${i}"`;
    return reply === "" ? [] : [`    ${place}) ${reply} ;;`];
  });
}

/** Commands that fill COMPREPLY with values; empty when nothing completes them. */
function replyOf({ choices, completes }: OptionSpec | PositionalSpec): string {
  if (choices.length > 0) return `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$cur"))`;
  if (completes === "files") {
    return `compopt -o filenames 2>/dev/null; local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$cur"))`;
  }
  if (completes === null) return "";
  return `COMPREPLY=($(compgen -W "$(${askCommand(completes)})" -- "$cur"))`;
}
