/**
 * What does a long-running command tell its user, and how? Lines on a terminal, or one JSON object
 * per event with `--json`.
 * @module
 */
import type { Output } from "./output.ts";

/** What is known when a node has joined its mesh. */
export interface ReadyFacts {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly meshId: string;
  readonly interfaceName: string;
  /** The coordinator it is connected to; null while it runs from cached state. */
  readonly coordinatorUrl: string | null;
}

/** Where processes report progress; {@link createProgress} writes it to the user. */
export interface Progress {
  /** Something is about to be done, e.g. "Registering with https://a:8443". */
  step(text: string): void;
  /** Something the user should know but that stops nothing. */
  warning(text: string, hint?: string): void;
  /** The node forwards traffic. Called once, after the first registration or from cached state. */
  ready(facts: ReadyFacts): void;
  /** The coordinator listens on `urls`. */
  listening(urls: readonly string[]): void;
  /** The one line that makes another machine join; `url` is what that machine can reach. */
  invitation(url: string, token: string): void;
  /** The process ends, e.g. "Leaving the mesh". */
  stopping(text: string): void;
}

/**
 * @param onReady Called with what {@link Progress.ready} is told, e.g. to save the context; a
 * failure of it is a warning.
 */
export function createProgress(
  out: Output,
  onReady: (facts: ReadyFacts) => Promise<void> = () => Promise.resolve(),
): Progress {
  const say = (type: string, fields: Record<string, unknown>, text: string) =>
    out.isJson ? out.jsonLine({ type, ...fields }) : out.line(text);
  const progress: Progress = {
    step: (text) => say("step", { text }, `${out.dim("-")} ${text}`),
    warning: (text, hint) => out.warning(text, hint),
    ready: (facts) => {
      const where = facts.addresses.join(", ");
      say("ready", { ...facts }, `${out.green("Ready:")} ${out.bold(facts.name)} is ${where}`);
      onReady(facts).catch((error) => out.warning(String(error)));
    },
    listening: (urls) =>
      say("listening", { urls }, `${out.dim("-")} Coordinator listens on ${urls.join(", ")}`),
    invitation: (url, token) => {
      const command = `sudo tunnelmesh join ${url} --token ${token}`;
      say(
        "invitation",
        { url, token, command },
        `\nTo add a machine, run there within 24 hours:\n\n  ${out.bold(command)}\n`,
      );
    },
    stopping: (text) => say("stopping", { text }, `${out.dim("-")} ${text}`),
  };
  return progress;
}
