/**
 * `tunnelmesh audit`: who changed what in the mesh, and how was it before?
 * @module
 */
import { z } from "zod";
import { fromBase64Url } from "../../core/bytes.ts";
import { parseDuration } from "../../core/config/units.ts";
import { fingerprint } from "../../core/identity/openssh.ts";
import { audit as auditLines, type AuditChange, type AuditLine } from "../../core/state/audit.ts";
import { defineCommand } from "../command.ts";
import { type Column, formatAge, formatTime } from "../format.ts";

export const audit = defineCommand({
  name: "audit",
  summary: "Tell every change of the mesh: who, when, before, after",
  description:
    "Read from the mesh's log; the signature of every entry is checked on the way. Times are " +
    "those of the clocks that signed. With --json a line holds the whole of what was changed.",
  examples: [
    { command: "tunnelmesh audit --since 7d", meaning: "The last week" },
    { command: "tunnelmesh audit --user anna", meaning: "What anna's key signed" },
    { command: "tunnelmesh audit --json > audit.jsonl", meaning: "All of it, for other programs" },
  ],
  input: z.strictObject({
    since: z.string().optional().meta({
      description: "A time ago such as 7d, or a date such as 2026-08-01",
      placeholder: "TIME",
    }).refine((text) => text === undefined || sinceOf(text, 0) !== null, {
      error: "must be a time such as 7d, or a date such as 2026-08-01",
    }),
    user: z.string().min(1).optional().meta({ description: "Only what this user did" }),
  }),
  permissions: { opens: ["$control"] },
  async run({ since, user }, { out, daemon }) {
    using client = await daemon();
    const { meshId, entries } = await client.meshLog();
    const earliest = since === undefined ? 0 : sinceOf(since, Date.now())!;
    const lines = [...auditLines(entries, meshId)].filter(({ at, by }) =>
      at >= earliest && (user === undefined || by.name === user)
    );
    if (lines.length === 0 && !out.isJson) return out.line("Nothing was changed");
    out.list(lines, COLUMNS, (line) => [
      String(line.seq),
      formatTime(line.at),
      line.by.name,
      line.action,
      summaryOf(line),
    ]);
  },
});

const COLUMNS: readonly Column[] = [
  { title: "Entry", align: "right" },
  { title: "When" },
  { title: "Who" },
  { title: "What" },
  { title: "Change", shrinksTo: 20 },
];

/** Milliseconds since 1970, or null. */
function sinceOf(text: string, now: number): number | null {
  const duration = parseDuration(text);
  if (duration !== null) return now - duration;
  const date = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? null : date;
}

function summaryOf({ changes }: AuditLine): string {
  return changes.map(changeText).join("; ") || "-";
}

/** `user:0123456789abcdef name bob -> robert`. */
function changeText({ subject, before, after }: AuditChange): string {
  const called = nameIn(after) ?? nameIn(before);
  const what = called === null ? subject : `${subject} (${called})`;
  if (before === null) return `+ ${what}`;
  if (after === null) return `- ${what}`;
  const [old, now] = [before, after].map((each) => Object(each) as Record<string, unknown>);
  const parts = Object.keys(now!).filter((key) =>
    JSON.stringify(old![key]) !== JSON.stringify(now![key])
  );
  return `${what} ${
    parts.map((key) => `${key} ${text(key, old![key])} -> ${text(key, now![key])}`).join(", ")
  }`;
}

function nameIn(value: unknown): string | null {
  const { name } = Object(value);
  return typeof name === "string" ? name : null;
}

/** A field as people read it: keys as `user list` shows them, times and durations in words. */
function text(field: string, value: unknown): string {
  if (field === "key" && typeof value === "string") return fingerprint(fromBase64Url(value));
  if (field.endsWith("At") && typeof value === "number") return formatTime(value);
  if (field.endsWith("Ms")) return typeof value === "number" ? formatAge(value) : "never";
  const json = typeof value === "string" ? value : JSON.stringify(value) ?? "-";
  return json.length > 60 ? `${json.slice(0, 59)}…` : json;
}
