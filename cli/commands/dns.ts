/**
 * `tunnelmesh dns`: do names reach the daemon's resolver?
 * @module
 */
import type { DnsFinding } from "../../core/daemon/api_types.ts";
import { type Command, defineCommand, defineGroup } from "../command.ts";
import { formatCount } from "../format.ts";
import type { Output } from "../output.ts";

const doctor = defineCommand({
  name: "doctor",
  summary: "Say whether mesh names resolve, and who broke what",
  description: "Exit status 0 when nothing is broken, 1 otherwise.",
  examples: [
    { command: "tunnelmesh dns doctor", meaning: "Check the resolver and the system's settings" },
  ],
  permissions: { opens: ["$control"] },
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const findings = await client.dnsDoctor();
    const errors = findings.filter(({ level }) => level === "error").length;
    if (out.isJson) findings.forEach((finding) => out.jsonLine(finding));
    else {
      for (const finding of findings) findingLines(finding, out).forEach((line) => out.line(line));
      const warnings = findings.filter(({ level }) => level === "warning").length;
      out.line(`\n${formatCount(errors, "error")}, ${formatCount(warnings, "warning")}`);
    }
    return errors === 0 ? 0 : 1;
  },
});

export const dns: Command = defineGroup({
  name: "dns",
  summary: "Check mesh names",
  subcommands: [doctor],
});

function findingLines({ level, what, culprit, hint }: DnsFinding, out: Output): string[] {
  const label = level.padEnd(7);
  const paint = level === "ok" ? out.green : level === "warning" ? out.yellow : out.red;
  return [
    `${paint.call(out, label)}  ${what}`,
    ...(culprit === null ? [] : [`         by ${culprit}`]),
    ...(hint === null ? [] : [`         ${out.bold(hint)}`]),
  ];
}
