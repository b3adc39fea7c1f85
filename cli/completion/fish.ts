/**
 * The completion script for fish.
 * @module
 */
import type { OptionSpec, PositionalSpec } from "../options.ts";
import { askCommand, type CompletionNode, valueOptions } from "./node.ts";

/** @param nodes The program first. */
export function fishScript(nodes: readonly CompletionNode[]): string {
  return `# fish completion for tunnelmesh; made by \`tunnelmesh completion fish\`

function __tunnelmesh_at
    set -l at ''
    set -l count 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case ${valueOptions(nodes).map(quote).join(" ")}
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
${nodes.flatMap(nodeLines).join("\n")}
`;
}

function walkCase({ path, spellings }: CompletionNode): string {
  return `            case ${spellings.map(quote).join(" ")}
                set at '${path}'
                set count 0`;
}

function nodeLines({ path, children, options, positionals }: CompletionNode): string[] {
  const at = (count?: number) =>
    `-n "__tunnelmesh_at '${path}'${count === undefined ? "" : ` ${count}`}"`;
  return [
    ...children.map(({ name, summary }) =>
      `complete -c tunnelmesh ${at(0)} -a ${name} -d ${quote(summary)}`
    ),
    ...positionals.flatMap((positional, index) => {
      const values = valuesOf(positional);
      return values === "" ? [] : [`complete -c tunnelmesh ${at(index)} ${values}`];
    }),
    ...options.map((option) =>
      [`complete -c tunnelmesh ${at()}`, nameOf(option), `-d ${quote(option.description)}`].join(
        " ",
      )
    ),
  ];
}

function nameOf(option: OptionSpec): string {
  const names = `-l ${option.long.slice(2)}${option.short === null ? "" : ` -s ${option.short}`}`;
  if (option.kind === "flag") return names;
  const values = valuesOf(option);
  return `${names} ${option.completes === "files" ? "-r" : "-x"}${
    values === "" ? "" : ` ${values}`
  }`;
}

function valuesOf({ choices, completes }: OptionSpec | PositionalSpec): string {
  if (choices.length > 0) return `-a ${quote(choices.join(" "))}`;
  if (completes === "files") return "-F";
  return completes === null ? "" : `-a ${quote(`(${askCommand(completes)})`)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
