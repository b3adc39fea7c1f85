/**
 * What is wrong with a value, in words a user understands?
 * @module
 */
import type { z } from "zod";

const TYPES: Readonly<Record<string, string>> = {
  array: "a list",
  boolean: "true or false",
  int: "a whole number",
  number: "a number",
  object: "a part with keys of its own",
  string: "text",
};

/** What the value must be, as `must be ...` or `is missing`. */
export function explainIssue(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined) return "is missing";
  switch (issue.code) {
    case "invalid_type":
      return `must be ${TYPES[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `must be one of ${issue.values.map(String).join(", ")}`;
    case "too_small":
      return issue.message.startsWith("must") ? issue.message : `must be at least ${issue.minimum}`;
    case "too_big":
      return issue.message.startsWith("must") ? issue.message : `must be at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}
