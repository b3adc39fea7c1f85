/**
 * A file that holds every setting, its meaning as a comment and its default commented out.
 *
 * `#key: value` is a setting to uncomment, `# Text` is prose; a part's name (`tun:`) stands as it is,
 * so that uncommenting one line is always enough.
 * @module
 */
import type { z } from "zod";
import { missingPart, schemaTree, type SettingNode } from "./schema.ts";

/** A section that opens the file. */
export interface ExampleOptions {
  /** Lines of prose at the top. */
  readonly title: readonly string[];
  /** Settings to write uncommented, by dotted path. */
  readonly values: Readonly<Record<string, unknown>>;
}

/** YAML text of a file for `schema`; what it parses to is `options.values`. */
export function exampleFile(schema: z.ZodObject, options: ExampleOptions): string {
  const lines = options.title.map((line) => `# ${line}`.trimEnd());
  writePart(schemaTree(schema), { path: "", indent: "", missing: null }, options.values, lines);
  return lines.join("\n") + "\n";
}

/** @param missing The part of TunnelMesh that the heading has already said to be missing. */
function writePart(
  part: SettingNode,
  at: { path: string; indent: string; missing: string | null },
  values: Readonly<Record<string, unknown>>,
  lines: string[],
): void {
  const { path, indent } = at;
  const children = Object.entries(part.properties ?? {});
  for (const [key, node] of children) {
    if (node.aliasFor || (node.description ?? "").startsWith("Old spelling")) continue;
    const childPath = path ? `${path}.${key}` : key;
    const missing = missingPart(node);
    const oldSpellings = children.filter(([, other]) => other.aliasFor === key).map(([old]) => old);
    const prose = proseOf(node, { missing: missing === at.missing ? null : missing, oldSpellings });
    if (indent === "" || node.properties) lines.push("");
    lines.push(...wrap(prose, 98 - indent.length).map((line) => `${indent}# ${line}`));
    if (node.properties) {
      lines.push(`${indent}${key}:`);
      writePart(node, { path: childPath, indent: `${indent}  `, missing }, values, lines);
    } else {
      writeSetting(key, node, { indent, value: values[childPath] }, lines);
    }
  }
}

function writeSetting(
  key: string,
  node: SettingNode,
  { indent, value }: { indent: string; value: unknown },
  lines: string[],
): void {
  const fields = node.items?.properties;
  if (value !== undefined) {
    lines.push(`${indent}${key}: ${yamlValue(value)}`);
  } else if (fields && !node.unavailable) {
    lines.push(`${indent}${key}:`);
    Object.entries(fields).forEach(([name, field], index) => {
      const isRequired = node.items?.required?.includes(name) ?? false;
      const prose = proseOf(field, { isRequired });
      const shown = `${name}: ${yamlValue(sampleOf(field))}`;
      lines.push(`${indent}  ${index === 0 ? "" : "  "}# ${prose}`);
      lines.push(index === 0 ? `${indent}  #- ${shown}` : `${indent}    #${shown}`);
    });
  } else {
    lines.push(`${indent}#${key}: ${yamlValue(sampleOf(node))}`);
  }
}

interface Prose {
  readonly missing?: string | null;
  readonly oldSpellings?: readonly string[];
  readonly isRequired?: boolean;
}

/** Meaning, unit, choices, default, old spellings, and which part of TunnelMesh is missing. */
function proseOf(node: SettingNode, { missing, oldSpellings = [], isRequired }: Prose): string {
  const unit = node.unit ? `, in ${node.unit}` : "";
  const choices = node.enum ? ` (${node.enum.join(", ")})` : "";
  const sentences = [`${node.description}${unit}${choices}`];
  const isEmptyList = Array.isArray(node.default) && node.default.length === 0;
  if (isRequired) sentences.push("Required");
  else if (node.whenAbsent) sentences.push(`Default: ${node.whenAbsent}`);
  else if (isEmptyList || (node.default === undefined && !node.properties)) {
    sentences.push("Default: none");
  }
  if (oldSpellings.length > 0) sentences.push(`Also: ${oldSpellings.join(", ")}`);
  if (missing) sentences.push(`This version does not have ${missing}`);
  return sentences.join(". ");
}

/** The default, else an example, else a value that shows the type. */
function sampleOf(node: SettingNode): unknown {
  const fallback = Array.isArray(node.default) && node.default.length === 0 && node.example
    ? undefined
    : node.default;
  if (fallback !== undefined) return fallback;
  if (node.example !== undefined) return node.example;
  return node.type === "number" || node.type === "integer" ? 0 : "...";
}

/** JSON is YAML; plain words and numbers need no quotes. */
function yamlValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(yamlValue).join(", ")}]`;
  if (typeof value !== "string") return JSON.stringify(value);
  const isPlain = /^[A-Za-z~/][A-Za-z0-9_./~-]*(:[A-Za-z0-9_./-]+)*=?$/.test(value) &&
    !/^(true|false|null|yes|no|on|off|~)$/i.test(value);
  return isPlain ? value : JSON.stringify(value);
}

/** Breaks prose into lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
