/**
 * The only writer to standard output and standard error: text for people, JSON for programs.
 *
 * With `--json` a command prints one document, or one object per line where it lists or streams.
 * @module
 */
import { styleText } from "node:util";
import { type Column, formatTable } from "./format.ts";

/** Where text goes and how it looks. */
export interface OutputOptions {
  readonly isJson: boolean;
  readonly isColor: boolean;
  readonly isErrorColor: boolean;
  /** Characters per line; null does not limit tables, as befits a pipe. */
  readonly columns: number | null;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
}

type Style = "bold" | "dim" | "green" | "red" | "yellow";

/** Writes what a command has to say. */
export class Output {
  readonly #options: OutputOptions;

  constructor(options: OutputOptions) {
    this.#options = options;
  }

  /** Whether programs read this; then nothing but JSON may go to standard output. */
  get isJson(): boolean {
    return this.#options.isJson;
  }

  /** Characters per line of tables and facts; infinite where the output is no terminal. */
  get columns(): number {
    return this.#options.columns ?? Infinity;
  }

  /** Characters per line of prose: 100 at most, even where the terminal is wider. */
  get width(): number {
    return Math.min(100, this.#options.columns ?? 80);
  }

  /** Writes a line of text; silent with `--json`. */
  line(text = ""): void {
    if (!this.isJson) this.#options.write(`${text}\n`);
  }

  /** Writes text as it is, whether or not `--json` is given: scripts and files. */
  raw(text: string): void {
    this.#options.write(text);
  }

  /** Writes one JSON object on one line. */
  jsonLine(value: unknown): void {
    this.#options.write(`${JSON.stringify(value)}\n`);
  }

  /** Writes one JSON document, or what `render` yields line by line. */
  document(value: unknown, render: () => Iterable<string>): void {
    if (this.isJson) return this.#options.write(`${JSON.stringify(value, null, 2)}\n`);
    for (const line of render()) this.line(line);
  }

  /** Writes a list: one JSON object per line, or a table with a row for each. */
  list<T>(
    items: readonly T[],
    columns: readonly Column[],
    rowOf: (item: T) => readonly string[],
  ): void {
    if (this.isJson) return items.forEach((item) => this.jsonLine(item));
    for (const line of this.table(columns, items.map(rowOf))) this.line(line);
  }

  /** Lines of a table that fits the terminal, its head dimmed. */
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
    const [head, ...body] = formatTable(columns, rows, this.columns);
    return [this.dim(head!), ...body];
  }

  /** Tells of something that stops nothing; on standard error. */
  warning(text: string, hint?: string): void {
    this.#report("warning", "yellow", { message: text, hint });
  }

  /** Tells why the command fails; on standard error. */
  error(code: string, message: string, hint: string | undefined): void {
    this.#report("error", "red", { code, message, hint });
  }

  #report(
    kind: "warning" | "error",
    style: Style,
    fields: { code?: string; message: string; hint?: string | undefined },
  ): void {
    const { writeError, isErrorColor } = this.#options;
    if (this.isJson) return writeError(`${JSON.stringify({ [kind]: fields })}\n`);
    const label = (text: string) =>
      isErrorColor ? styleText(style, text, { validateStream: false }) : text;
    writeError(`${label(`${kind}:`)} ${fields.message}\n`);
    if (fields.hint !== undefined) writeError(`${label("hint:")} ${fields.hint}\n`);
  }

  bold(text: string): string {
    return this.#style("bold", text);
  }

  dim(text: string): string {
    return this.#style("dim", text);
  }

  green(text: string): string {
    return this.#style("green", text);
  }

  red(text: string): string {
    return this.#style("red", text);
  }

  yellow(text: string): string {
    return this.#style("yellow", text);
  }

  #style(style: Style, text: string): string {
    return this.#options.isColor ? styleText(style, text, { validateStream: false }) : text;
  }
}

/** Whether to colour a stream (no-color.org; FORCE_COLOR as in Node.js). */
export function wantsColor(env: Readonly<Record<string, string>>, isTerminal: boolean): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== "0";
  return isTerminal && env.TERM !== "dumb";
}

/** Writes all of `text` to a stream of this process. */
export function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
}
