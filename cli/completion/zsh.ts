/**
 * The completion script for zsh.
 * @module
 */
import type { OptionSpec, PositionalSpec } from "../options.ts";
import { optionMeaning } from "../help.ts";
import { askCommand, type CompletionNode, spellingsOf, valueOptions } from "./node.ts";

/** @param nodes The program first. */
export function zshScript(nodes: readonly CompletionNode[]): string {
  return `#compdef tunnelmesh
# zsh completion for tunnelmesh; made by \`tunnelmesh completion zsh\`

_tunnelmesh() {
  local at='' count=0 i word prev=\${words[CURRENT-1]}
  local -a items
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
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

  if [[ "$PREFIX" == -* ]]; then
    case "$at" in
${nodes.map(optionCase).join("\n")}
    esac
    _describe 'option' items
    return
  fi
  case "$at $count" in
${nodes.flatMap(wordCases).join("\n")}
  esac
}

if [ "$funcstack[1]" = "_tunnelmesh" ]; then
  _tunnelmesh "$@"
else
  compdef _tunnelmesh tunnelmesh
fi
`;
}

function walkCase({ path, spellings }: CompletionNode): string {
  return `      ${spellings.join("|")}) at='${path}'; count=0 ;;`;
}

function valueCases({ path, options }: CompletionNode): string[] {
  return options.filter(({ kind }) => kind !== "flag").map((option) => {
    const names = spellingsOf(option).map((name) => `"${path} ${name}"`).join("|");
    return `    ${names}) ${actionOf(option)}; return ;;`;
  });
}

function optionCase({ path, options }: CompletionNode): string {
  const items = options.flatMap((option) =>
    spellingsOf(option).map((name) => item(name, optionMeaning(option)))
  );
  return `      '${path}') items=(${items.join(" ")}) ;;`;
}

function wordCases({ path, children, positionals }: CompletionNode): string[] {
  if (children.length > 0) {
    const items = children.map(({ name, summary }) => item(name, summary)).join(" ");
    return [`    '${path} 0') items=(${items}); _describe 'command' items ;;`];
  }
  return positionals.map((positional, index) =>
    `    '${path} ${index}') ${actionOf(positional)} ;;`
  );
}

function actionOf({ choices, completes }: OptionSpec | PositionalSpec): string {
  if (choices.length > 0) return `compadd -- ${choices.join(" ")}`;
  if (completes === "files") return "_files";
  if (completes === null) return "_message 'value'";
  return `compadd -- \${(f)"$(${askCommand(completes)})"}`;
}

/** \`name:meaning\` in single quotes. */
function item(name: string, meaning: string): string {
  return `'${name}:${meaning.replaceAll("'", "'\\''")}'`;
}
