/**
 * Reads a command's options and arguments from its input schema.
 * @module
 */
import { z } from "zod";
import type { Command } from "./command.ts";
import type { Completes, InputSpec, OptionSpec, PositionalSpec } from "./options.ts";

/** What JSON Schema and our own metadata say about one input. */
interface InputNode {
  readonly type?: string;
  readonly anyOf?: readonly InputNode[];
  readonly enum?: readonly unknown[];
  readonly items?: InputNode;
  readonly default?: unknown;
  readonly description?: string;
  readonly unit?: string;
  readonly whenAbsent?: string;
  readonly env?: string;
  readonly positional?: number;
  readonly alias?: string;
  readonly placeholder?: string;
  readonly completes?: Completes;
  readonly hidden?: boolean;
}

/** The options and arguments of a command, in the order of declaration. */
export function inputSpecOf(command: Command): InputSpec {
  if (!command.input) return { options: [], positionals: [] };
  const schema = z.toJSONSchema(command.input, { io: "input", unrepresentable: "any" });
  const nodes = Object.entries(schema.properties ?? {}) as [string, InputNode][];
  const required = new Set(schema.required ?? []);
  const positionals = nodes.filter(([, node]) => node.positional !== undefined)
    .sort(([, a], [, b]) => a.positional! - b.positional!);
  return {
    options: nodes.filter(([, node]) => node.positional === undefined).map(optionOf),
    positionals: positionals.map(([key, node]) => positionalOf(key, node, required.has(key))),
  };
}

function optionOf([key, node]: [string, InputNode]): OptionSpec {
  const value = node.type === "array" ? node.items ?? {} : node;
  const isNumber = value.type === "integer" || value.type === "number";
  const unit = node.unit ? `, in ${node.unit}` : "";
  return {
    key,
    long: `--${kebab(key)}`,
    short: node.alias ?? null,
    kind: node.type === "array" ? "list" : node.type === "boolean" ? "flag" : "value",
    isNumber,
    placeholder: node.placeholder ?? (isNumber ? "N" : "TEXT"),
    description: `${node.description ?? ""}${unit}`,
    fallback: node.whenAbsent ?? fallbackOf(node),
    variable: node.env ?? null,
    choices: (value.enum ?? []).map(String),
    completes: node.completes ?? null,
    isHidden: node.hidden ?? false,
  };
}

function fallbackOf({ default: value }: InputNode): string | null {
  if (
    value === undefined || value === false || value === "" ||
    (Array.isArray(value) && value.length === 0)
  ) {
    return null;
  }
  return String(value);
}

function positionalOf(key: string, node: InputNode, isRequired: boolean): PositionalSpec {
  const value = node.type === "array" ? node.items ?? {} : node;
  return {
    key,
    placeholder: node.placeholder ?? kebab(key).toUpperCase(),
    description: node.description ?? "",
    isRequired,
    isRepeated: node.type === "array",
    choices: (value.enum ?? []).map(String),
    completes: node.completes ?? null,
  };
}

function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
