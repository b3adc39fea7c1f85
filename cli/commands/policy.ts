/**
 * `tunnelmesh policy`: who may reach what?
 * @module
 */
import { type Command, defineGroup } from "../command.ts";
import { apply, exportPolicy, history, rollback } from "./policy_apply.ts";
import { check, diff, explain, plan, test } from "./policy_check.ts";
import { watch } from "./policy_watch.ts";

export const policy: Command = defineGroup({
  name: "policy",
  summary: "Say who may reach what, and see why",
  description:
    "The policy is one YAML document, in one file or several. What no rule allows is denied. " +
    "docs/policy.md describes it.",
  examples: [
    { command: "tunnelmesh policy export > policy.yaml", meaning: "Start from what holds" },
    { command: "tunnelmesh policy apply policy.yaml", meaning: "Plan, ask and apply an edit" },
    { command: 'tunnelmesh policy explain "laptop -> nas:443"', meaning: "May it, and why?" },
  ],
  subcommands: [check, plan, apply, diff, test, explain, history, rollback, watch, exportPolicy],
});
