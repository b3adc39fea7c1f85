/**
 * The completion script for zsh.
 * @module
 */
import { optionMeaning } from "../help.ts";
import type { OptionSpec, PositionalSpec } from "../options.ts";
import {
  askCommand,
  type CompletionModel,
  type CompletionNode,
  spellingsOf,
  valued,
} from "./node.ts";

/** Text to put into a folder of fpath as `_tunnelmesh`, or to source. */
export function zshScript({ nodes, globals }: CompletionModel): string {
  const ownValued = nodes.flatMap(({ path, options }) =>
    valued(options).flatMap(spellingsOf).map((name) => `"${path} ${name}"`)
  );
  return `#compdef tunnelmesh
# zsh completion for tunnelmesh; made by \`tunnelmesh completion zsh\`

_tunnelmesh() {
  local at='' count=0 i word prev=\${words[CURRENT-1]}
  local -a items
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
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

  if [[ "$PREFIX" == -* ]]; then
    case "$at" in
${nodes.filter(({ options }) => options.length > 0).map(optionCase).join("\n")}
    esac
    items+=(${globals.flatMap(optionItems).join(" ")})
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

/** One case per option; `path` null for global ones. */
function valueCases(options: readonly OptionSpec[], path: string | null): string[] {
  return valued(options).map((option) => {
    const names = spellingsOf(option);
    const patterns = path === null ? names : names.map((name) => `"${path} ${name}"`);
    return `    ${patterns.join("|")}) ${actionOf(option)}; return ;;`;
  });
}

function optionCase({ path, options }: CompletionNode): string {
  return `      '${path}') items=(${options.flatMap(optionItems).join(" ")}) ;;`;
}

function optionItems(option: OptionSpec): string[] {
  return spellingsOf(option).map((name) => item(name, optionMeaning(option)));
}

function wordCases({ path, children, positionals }: CompletionNode): string[] {
  if (children.length > 0) {
    const items = children.map(({ name, summary }) => item(name, summary)).join(" ");
    return [`    '${path} 0') items=(${items}); _describe 'command' items ;;`];
  }
  return positionals.map((positional, i) => {
    const place = positional.isRepeated ? `'${path} '*` : `'${path} ${i}'`;
    return `    ${place}) ${actionOf(positional)} ;;`;
  });
}

function actionOf({ choices, completes, description }: OptionSpec | PositionalSpec): string {
  if (choices.length > 0) return `compadd -- ${choices.join(" ")}`;
  if (completes === "files") return "_files";
  if (completes === null) return `_message ${quote(description)}`;
  return `compadd -- \${(f)"$(${askCommand(completes)})"}`;
}

/** A name and its meaning, as `_describe` takes them. */
function item(name: string, meaning: string): string {
  return quote(`${name}:${meaning}`);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
