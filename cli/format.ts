/**
 * Figures as people read them: bytes, durations, round trips, shares; and columns of text.
 * @module
 */
import type { Measured } from "../core/daemon/api_types.ts";

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `0 B`, `1.2 MiB`, `34 GiB`: two significant digits at least, powers of 1024. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.5 would round to 1024: that is one of the next unit.
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${BYTE_UNITS[unit]}`;
}

/** The same in a table's few columns, as `ls -h` does: `0`, `1.2M`, `34G`. */
export function formatBytesShort(bytes: number): string {
  return formatBytes(bytes).replace(/ B$/, "").replace(/ (.)iB$/, "$1");
}

/** `0s`, `41s`, `2m`, `2h 14m`, `3d 4h`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours}h` : `${hours}h ${minutes % 60}m`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 || days > 9 ? `${days}d` : `${days}d ${hours % 24}h`;
}

/** `0.31 ms`, `12.4 ms`, `240 ms`. */
export function formatRtt(ms: number): string {
  return `${ms < 1 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** `0%`, `0.4%`, `12%` of a share from 0 to 1. */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (percent === 0) return "0%";
  if (percent < 0.1) return "<0.1%";
  return `${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)}%`;
}

/** A measured value with its age, e.g. `12.4 ms (3s)`, or `-` for none. */
export function formatMeasured(
  measured: Measured<number> | null,
  format: (value: number) => string,
): string {
  return measured ? `${format(measured.value)} (${formatAge(measured.ageMs)})` : "-";
}

/** `1 peer`, `3 peers`. */
export function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Date and time of day in UTC, e.g. `2026-08-01 12:30 UTC`. */
export function formatTime(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** May be shortened, down to this many characters, when the table is too wide. */
  readonly shrinksTo?: number;
}

// deno-lint-ignore no-control-regex -- escape sequences of colours begin with a control character
const COLOUR = /\x1b\[[0-9;]*m/g;

/** How many columns of a terminal `text` takes, colours not counted. */
export function visibleWidth(text: string): number {
  return [...text.replace(COLOUR, "")].length;
}

/**
 * Lines of a table without borders, two spaces between columns, the head in upper case.
 *
 * @param width Characters per line; a wider table first shortens the columns that allow it.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): string[] {
  const head = columns.map(({ title }) => title.toUpperCase());
  const widths = columns.map((_, i) =>
    Math.max(...[head, ...rows].map((row) => visibleWidth(row[i]!)))
  );
  shrink(columns, widths, widths.reduce((sum, each) => sum + each + 2, -2) - width);
  return [head, ...rows].map((row) =>
    row.map((cell, i) => fit(cell, widths[i]!, columns[i]!.align ?? "left")).join("  ").trimEnd()
  );
}

/** Takes `excess` characters from the columns that allow it, from the widest first. */
function shrink(columns: readonly Column[], widths: number[], excess: number): void {
  for (let left = excess; left > 0; left--) {
    let widest = -1;
    columns.forEach(({ shrinksTo }, i) => {
      if (shrinksTo === undefined || widths[i]! <= shrinksTo) return;
      if (widest < 0 || widths[i]! > widths[widest]!) widest = i;
    });
    if (widest < 0) return;
    widths[widest]!--;
  }
}

function fit(cell: string, width: number, align: "left" | "right"): string {
  const length = visibleWidth(cell);
  if (length > width) return shorten(cell, width);
  const space = " ".repeat(width - length);
  return align === "right" ? space + cell : cell + space;
}

/** Cuts the middle out of a text, because both ends of names and addresses tell them apart. */
export function shorten(text: string, width: number): string {
  const characters = [...text.replace(COLOUR, "")];
  if (characters.length <= width) return text;
  const head = Math.ceil((width - 1) / 2);
  return [
    ...characters.slice(0, head),
    "…",
    ...characters.slice(characters.length - width + 1 + head),
  ]
    .join("");
}

/** Breaks prose into lines of at most `maxWidth` characters; line breaks in it are kept. */
export function wrapText(text: string, maxWidth: number): string[] {
  return text.split("\n").flatMap((paragraph) => {
    const lines: string[] = [];
    let width = 0;
    for (const word of paragraph.split(" ")) {
      const length = visibleWidth(word);
      if (lines.length === 0 || width + 1 + length > maxWidth) {
        lines.push(word);
        width = length;
      } else {
        lines[lines.length - 1] += ` ${word}`;
        width += 1 + length;
      }
    }
    return lines;
  });
}
