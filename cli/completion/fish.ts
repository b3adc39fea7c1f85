/**
 * The completion script for fish.
 * @module
 */
import type { OptionSpec, PositionalSpec } from "../options.ts";
import {
  askCommand,
  type CompletionModel,
  type CompletionNode,
  globalsBeside,
  spellingsOf,
  valued,
} from "./node.ts";

/** Text to put into fish's completions folder, or to source. */
export function fishScript({ nodes, globals }: CompletionModel): string {
  const ownValued = nodes.flatMap(({ path, options }) =>
    valued(options).flatMap(spellingsOf).map((name) => quote(`${path} ${name}`))
  );
  return `# fish completion for tunnelmesh; made by \`tunnelmesh completion fish\`

# Succeeds when the command line is at the command $argv[1], with $argv[2] arguments where given.
function __tunnelmesh_at
    set -l at ''
    set -l count 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch "$at $word"
            case ${ownValued.join(" ")}
                set skip 1
                continue
        end
        switch $word
            case ${valued(globals).flatMap(spellingsOf).map(quote).join(" ")}
                set skip 1
                continue
            case '-*'
                continue
        end
        switch "$at/$word"
${nodes.filter(({ path }) => path !== "").map(walkCase).join("\n")}
            case '*'
                set count (math $count + 1)
        end
    end
    test "$at" = "$argv[1]"; or return 1
    test (count $argv) -lt 2; or test "$count" = "$argv[2]"
end

complete -c tunnelmesh -f
${nodes.flatMap((node) => nodeLines(node, globals)).join("\n")}
`;
}

function walkCase({ path, spellings }: CompletionNode): string {
  return `            case ${spellings.map(quote).join(" ")}
                set at '${path}'
                set count 0`;
}

function nodeLines(node: CompletionNode, globals: readonly OptionSpec[]): string[] {
  const { path, children, options, positionals } = node;
  const start = (count: string) => `complete -c tunnelmesh -n "__tunnelmesh_at '${path}'${count}"`;
  return [
    ...children.map(({ name, summary }) => `${start(" 0")} -a ${name} -d ${quote(summary)}`),
    ...positionals.flatMap((positional, index) => {
      const values = valuesOf(positional);
      const isEverywhere = positional.isRepeated && index === 0;
      return values === "" ? [] : [`${start(isEverywhere ? "" : ` ${index}`)} ${values}`];
    }),
    ...[...options, ...globalsBeside(node, globals)].map((option) =>
      `${start("")} ${nameOf(option)} -d ${quote(option.description)}`
    ),
  ];
}

function nameOf(option: OptionSpec): string {
  const names = `-l ${option.long.slice(2)}${option.short === null ? "" : ` -s ${option.short}`}`;
  if (option.kind === "flag") return names;
  const values = valuesOf(option);
  const takes = option.completes === "files" ? "-r" : "-x";
  return `${names} ${takes}${values === "" ? "" : ` ${values}`}`;
}

function valuesOf({ choices, completes }: OptionSpec | PositionalSpec): string {
  if (choices.length > 0) return `-a ${quote(choices.join(" "))}`;
  if (completes === "files") return "-F";
  return completes === null ? "" : `-a ${quote(`(${askCommand(completes)})`)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
