/**
 * `tunnelmesh policy watch`: keeps the mesh's policy what a folder says, such as a Git checkout.
 * @module
 */
import { z } from "zod";
import { errorMessage, MeshError } from "../../core/errors.ts";
import { parseDuration } from "../../core/config/units.ts";
import { type AbsolutePath, type CommandContext, defineCommand } from "../command.ts";
import { formatTime } from "../format.ts";
import { absolutePath } from "../paths.ts";
import { readPolicyPaths } from "../policy_files.ts";
import { eventLines, PolicyWatch, statusOf, type WatchEvent } from "../policy_watch.ts";
import { untilSignal } from "../signals.ts";
import { KEY, loadSigner } from "../statements.ts";
import { hideEnvironment } from "../../core/daemon/yaml_source.ts";

/** How often the folder is read; two equal readings in a row are a whole checkout. */
const FOLDER_INTERVAL_MS = 1_000;

export const watch = defineCommand({
  name: "watch",
  summary: "Apply what a folder holds, again and again",
  description:
    "For a Git checkout that something else pulls. What changes in the folder is checked, tested " +
    "and applied without a question; what is wrong is told, and the policy stays. A policy that " +
    "somebody applies by hand is told as drift and left alone until the folder changes; with " +
    "--enforce the folder is applied again. It goes on after errors, and ends with 3 when the " +
    "daemon does: let a service manager start it again. With --once it looks once and exits with " +
    "0 (the mesh has the folder's policy), 1 (failed, or a test fails), 2 (the files are wrong) " +
    "or 5 (drift).",
  examples: [
    { command: "tunnelmesh policy watch policy/", meaning: "Until it is stopped" },
    { command: "tunnelmesh policy watch policy/ --once --json", meaning: "A step of a CI job" },
    {
      command: "tunnelmesh policy watch policy/ --enforce --key /etc/tunnelmesh/policy_key",
      meaning: "Edits by hand last no longer than 30 seconds; signed with a key of its own",
    },
  ],
  input: z.strictObject({
    folder: z.string().min(1).meta({
      positional: 0,
      description: "Folder with the policy's *.yaml",
      completes: "files",
    }),
    enforce: z.boolean().default(false).meta({ description: "Undo what is applied by hand" }),
    once: z.boolean().default(false).meta({ description: "Look once and exit" }),
    interval: z.string().default("30s").meta({
      description: "How often the mesh is looked at; the folder is every second",
      placeholder: "TIME",
    }).refine((text) => (parseDuration(text) ?? 0) >= FOLDER_INTERVAL_MS, {
      error: "must be a time of 1s or more, such as 30s",
    }),
    key: KEY,
  }),
  permissions: { opens: ["$control"] },
  async prepare({ folder, key }, { host }) {
    const path = absolutePath(host, folder);
    try {
      if (!Deno.statSync(path).isDirectory) throw new Error("it is no folder");
    } catch (cause) {
      throw new MeshError("usage", `Cannot watch ${folder}: ${errorMessage(cause)}`, { cause });
    }
    return { path: path as AbsolutePath, signer: await loadSigner(host, key) };
  },
  permissionsFor: ({ path }) => ({ read: [path] }),
  async run({ folder, enforce, once, interval }, context, { signer }) {
    using client = await context.daemon();
    hideEnvironment();
    const watch = new PolicyWatch({
      readTexts: () => readPolicyPaths(context.host, [folder]),
      signer,
      enforce,
    });
    const look = () => watch.look(client);
    if (once) {
      const event = await look();
      tell(event, context);
      return statusOf(event);
    }
    const status = await untilSignal(follow(watch, look, context, parseDuration(interval)!));
    return status === "signal" ? 0 : status;
  },
});

/**
 * Looks whenever the folder has changed and rests, and at least every `intervalMs`; the exit status
 * when the daemon is gone.
 */
async function follow(
  watch: PolicyWatch,
  look: () => Promise<WatchEvent>,
  context: CommandContext,
  intervalMs: number,
): Promise<number> {
  let [told, looked, seen, nextAt] = ["", watch.fingerprint(), watch.fingerprint(), 0];
  for (;;) {
    const current = watch.fingerprint();
    const isAtRest = current === seen;
    if (isAtRest && (current !== looked || performance.now() >= nextAt)) {
      const event = await look();
      if (JSON.stringify(event) !== told) tell(event, context);
      if (event.type === "error" && event.code === "daemon-unreachable") return statusOf(event);
      // What was applied is in sync: that is no news.
      const next = event.type === "applied" ? { type: "in-sync", hash: event.hash } : event;
      [told, looked, nextAt] = [JSON.stringify(next), current, performance.now() + intervalMs];
    }
    seen = current;
    await new Promise((resolve) => setTimeout(resolve, FOLDER_INTERVAL_MS));
  }
}

function tell(event: WatchEvent, { out }: CommandContext): void {
  const at = Date.now();
  if (out.isJson) return out.jsonLine({ at, ...event });
  const [first, ...rest] = eventLines(event);
  out.line(`${formatTime(at)}  ${first}`);
  for (const line of rest) out.line(line);
}
