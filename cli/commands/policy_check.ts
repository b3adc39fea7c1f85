/**
 * `tunnelmesh policy check|plan|diff|test|explain`: what would a policy do? Changes nothing.
 * @module
 */
import { z } from "zod";
import { MeshError } from "../../core/errors.ts";
import { answer } from "../../core/policy/answer.ts";
import { checkPolicy, formatCheck } from "../../core/policy/check.ts";
import { formatPolicy, policyLines } from "../../core/policy/words.ts";
import { defineCommand, type Permissions } from "../command.ts";
import { checkDocument, proposalDocument, proposalLines, propose } from "../policy_change.ts";
import { POLICY_PATHS, type PolicyText, readPolicyPaths } from "../policy_files.ts";
import {
  type AppliedPolicy,
  appliedPolicy,
  expectApplied,
  expectPolicy,
  parseTexts,
  problemOf,
  subjectsOf,
} from "../policy_world.ts";
import { unifiedDiff } from "../text_diff.ts";
import type { Output } from "../output.ts";

/** Files are read, and the mesh asked, before permissions are given up. */
const ASKS: Permissions = { opens: ["$control"] };

/** Exit status of `--exit-code`; 2 and 1 mean other things here than for `git diff`. */
const DIFFERS = 5;

const exitCode = z.boolean().default(false).meta({
  description: `Exit with ${DIFFERS} when it is another policy than the applied one`,
});

export const check = defineCommand({
  name: "check",
  summary: "Find what is wrong in policy files",
  description:
    "Names file, line and column of everything that is wrong. Asks no daemon, so it runs where " +
    "there is no mesh; `policy plan` also runs the tests in the files. Exits with 2 when " +
    "something is wrong.",
  examples: [
    { command: "tunnelmesh policy check policy.yaml", meaning: "One file" },
    { command: "tunnelmesh policy check policy/ --json", meaning: "A folder, for an editor or CI" },
  ],
  input: z.strictObject({ files: POLICY_PATHS }),
  permissions: {},
  prepare({ files }, { host }) {
    const texts = readPolicyPaths(host, files);
    return Promise.resolve({ texts, parsed: parseTexts(texts) });
  },
  run(_input, { out }, { texts, parsed }) {
    const problems = (parsed.problems ?? []).map(problemOf);
    out.document(
      { isValid: parsed.policy !== null, problems },
      () => parsed.problems ?? [`${texts.map(({ shown }) => shown).join(", ")}: nothing is wrong`],
    );
    return Promise.resolve(parsed.policy === null ? 2 : 0);
  },
});

export const plan = defineCommand({
  name: "plan",
  summary: "Show who would gain or lose what by a policy",
  description:
    "Compares the files with the policy that holds, for all nodes, users, ports and objects of " +
    `the mesh, and runs the tests in the files. Exits with 0, with 1 when a test fails, with 2 ` +
    `when the files are wrong, and with --exit-code with ${DIFFERS} when they differ from what ` +
    "is applied.",
  examples: [
    { command: "tunnelmesh policy plan policy.yaml", meaning: "Before `policy apply`" },
    {
      command: "tunnelmesh policy plan policy/ --exit-code",
      meaning: "In CI: 0 when the folder is what the mesh has",
    },
  ],
  input: z.strictObject({ files: POLICY_PATHS, exitCode }),
  permissions: ASKS,
  async prepare({ files }, { host, daemon }) {
    const texts = readPolicyPaths(host, files);
    const mesh = await (await daemon()).mesh();
    return propose(mesh, appliedPolicy(mesh), texts);
  },
  async run({ exitCode }, { out, daemon }, proposal) {
    using _client = await daemon();
    out.document(proposalDocument(proposal), () => proposalLines(proposal));
    if (!proposal.check.isFit) return 1;
    return exitCode && !proposal.isApplied ? DIFFERS : 0;
  },
});

export const diff = defineCommand({
  name: "diff",
  summary: "Show how policy files differ from the applied ones",
  description: "Line by line; `policy plan` shows what it means.",
  examples: [{ command: "tunnelmesh policy diff policy/", meaning: "As `git diff` shows it" }],
  input: z.strictObject({ files: POLICY_PATHS, exitCode }),
  permissions: ASKS,
  async prepare({ files }, { host, daemon }) {
    const texts = readPolicyPaths(host, files);
    return { texts, applied: appliedPolicy(await (await daemon()).mesh()) };
  },
  async run({ exitCode }, { out, daemon }, { texts, applied }) {
    using _client = await daemon();
    const files = differences(applied, texts);
    out.document(
      { files },
      () =>
        files.length === 0
          ? ["Nothing differs"]
          : files.flatMap(({ diff }) => diff.map((line) => coloured(line, out))),
    );
    return exitCode && files.length > 0 ? DIFFERS : 0;
  },
});

export const test = defineCommand({
  name: "test",
  summary: "Run the tests that a policy holds",
  description: "Without files those of the applied policy. Exits with 1 when one fails.",
  examples: [
    { command: "tunnelmesh policy test", meaning: "Does what holds do what it should?" },
    { command: "tunnelmesh policy test policy.yaml", meaning: "Before applying it" },
  ],
  input: z.strictObject({ files: POLICY_PATHS.optional().meta(POLICY_PATHS.meta()!) }),
  permissions: ASKS,
  async prepare({ files }, { host, daemon }) {
    const texts = files && readPolicyPaths(host, files);
    const mesh = await (await daemon()).mesh();
    return subjectsOf(texts ? expectPolicy(texts) : expectApplied(mesh).policy, mesh);
  },
  async run(_input, { out, daemon }, subjects) {
    using _client = await daemon();
    const report = checkPolicy(subjects);
    out.document(checkDocument(report), () => [formatCheck(report)]);
    return report.isFit ? 0 : 1;
  },
});

export const explain = defineCommand({
  name: "explain",
  summary: "Say what the applied policy allows, and why",
  description:
    "Without a question, all of the policy in words. A question is who and what: a node, " +
    "user:NAME, tag:NAME or group:NAME, then NODE:PORT, bucket:NAME:RIGHT, share:NAME:RIGHT, " +
    "nfs:NAME:RIGHT, panel:NAME:RIGHT, exit:NODE or route:NETWORK. A port alone is TCP. Rules " +
    "of a node's own are shown by `tunnelmesh filter trace` there.",
  examples: [
    { command: "tunnelmesh policy explain", meaning: "What holds, each line with its place" },
    {
      command: 'tunnelmesh policy explain "laptop -> nas:443"',
      meaning: "May it, and by which rule?",
    },
    {
      command: "tunnelmesh policy explain tag:ci bucket:builds:write",
      meaning: "The same of rights",
    },
  ],
  input: z.strictObject({
    from: z.string().min(1).optional().meta({
      positional: 0,
      description: 'Who asks, or the whole question: "laptop -> nas:443"',
      completes: "peers",
    }),
    to: z.string().min(1).optional().meta({ positional: 1, description: "What it asks for" }),
  }),
  permissions: ASKS,
  async prepare(_input, { daemon }) {
    const mesh = await (await daemon()).mesh();
    return subjectsOf(expectApplied(mesh).policy, mesh);
  },
  async run({ from, to }, { out, daemon }, subjects) {
    using _client = await daemon();
    if (from === undefined) {
      const lines = policyLines(subjects.policy);
      return out.document({ lines }, () => formatPolicy(subjects.policy));
    }
    const question = questionOf(from, to);
    const { text, problems } = answer(subjects, question.from, question.to);
    if (problems !== null) {
      const problem = problems.map((each) => each.replace(/^question: /, "")).join("; ");
      throw new MeshError("usage", `Cannot answer: ${problem}`, {
        hint: '`tunnelmesh policy explain "laptop -> nas:443"` is a question',
      });
    }
    out.document({ ...question, answer: text }, () => [text]);
  },
});

/** Who and what, also from one word. @throws {MeshError} `usage` */
function questionOf(first: string, second: string | undefined): { from: string; to: string } {
  const words = second === undefined ? first.split(/\s*(?:->|→)\s*|\s+/) : [first, second];
  const [from, to, more] = words.map((word) => word.trim());
  if (from && to && more === undefined) return { from, to };
  throw new MeshError("usage", `Cannot answer "${first}": who asks for what?`, {
    hint: 'Write `tunnelmesh policy explain "laptop -> nas:443"`',
  });
}

/** The files that differ, by name. */
export function differences(applied: AppliedPolicy, texts: readonly PolicyText[]) {
  const names = new Set([...applied.texts, ...texts].map(({ file }) => file));
  const textIn = (list: readonly PolicyText[], name: string) =>
    list.find(({ file }) => file === name)?.text ?? null;
  return [...names].sort().flatMap((file) => {
    const diff = unifiedDiff(file, textIn(applied.texts, file), textIn(texts, file));
    return diff.length === 0 ? [] : [{ file, diff }];
  });
}

function coloured(line: string, out: Output): string {
  if (/^(---|\+\+\+)/.test(line)) return out.bold(line);
  return line.startsWith("-") ? out.red(line) : line.startsWith("+") ? out.green(line) : line;
}
