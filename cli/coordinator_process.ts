/**
 * The coordinator as `up` sees it: another process, watched and started again when it dies.
 *
 * The child tells its facts in one line on standard output, a pipe that nobody else reads, and ends
 * when its standard input does, so it never outlives the node that started it. One that follows
 * another coordinator is told there, too, what happens in the mesh.
 * @module
 */
import { TextLineStream } from "./text_lines.ts";
import { z } from "zod";
import type { FeedMessage } from "../core/control/feed.ts";
import { MeshError } from "../core/errors.ts";
import type { CoordinatorRunOptions } from "./run_options.ts";
import { COORDINATOR_FLAGS, selfCommand } from "./self_command.ts";

/** Tells a coordinator that it was started by `up`. */
export const SUPERVISED = "TUNNELMESH_SUPERVISED";

/** What the child tells. */
export const CoordinatorFacts = z.strictObject({
  /** What other machines can reach, best first. */
  urls: z.array(z.string()).min(1),
  /** What this machine reaches. */
  localUrl: z.string(),
  /** Admits the node beside it, as the first of a new mesh; null in a mesh that somebody joined. */
  token: z.string().nullable(),
  /** How far its copy of the mesh's log goes. */
  head: z.int().nonnegative(),
});
export type CoordinatorFacts = z.infer<typeof CoordinatorFacts>;

/** Pause before a coordinator that died is started again; doubles up to the second. */
const RESTART_MS = 500;
const MAX_RESTART_MS = 15_000;
/** A coordinator that lived so long did not die of its configuration. */
const GOOD_AFTER_MS = 30_000;
const STOP_MS = 3_000;

/** A running coordinator; dispose of it to stop it. */
export class CoordinatorProcess implements AsyncDisposable {
  facts: CoordinatorFacts;
  /** Is called after each start but the first. */
  onRestart: () => void = () => {};
  readonly #options: CoordinatorRunOptions;
  #child: Child;
  #isStopping = false;
  #delay = RESTART_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @throws {MeshError} when it ends before it listens; its own words are on stderr. */
  static async start(options: CoordinatorRunOptions): Promise<CoordinatorProcess> {
    const child = spawn(options);
    return new CoordinatorProcess(options, child, await child.facts);
  }

  private constructor(options: CoordinatorRunOptions, child: Child, facts: CoordinatorFacts) {
    this.#options = options;
    this.#child = child;
    this.facts = facts;
    this.#watch(child);
  }

  /** Tells the process something, in order; one that has ended is told all of it when it is back. */
  feed(message: FeedMessage): void {
    this.#child.tell(JSON.stringify(message));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.#child.stop();
  }

  #watch(child: Child): void {
    const startedAt = performance.now();
    child.process.status.then(({ code, signal }) => {
      if (this.#isStopping) return;
      if (performance.now() - startedAt > GOOD_AFTER_MS) this.#delay = RESTART_MS;
      const how = signal ?? `status ${code}`;
      this.#options.progress.warning(`The coordinator ended (${how}): starting it again`);
      this.#timer = setTimeout(() => this.#restart(), this.#delay);
      this.#delay = Math.min(2 * this.#delay, MAX_RESTART_MS);
    });
  }

  #restart(): void {
    this.#child = spawn(this.#options);
    // Why it failed is on stderr already; the watch tries again.
    this.#child.facts.then((facts) => {
      this.facts = facts;
      this.onRestart();
    }, () => {});
    this.#watch(this.#child);
  }
}

interface Child {
  readonly process: Deno.ChildProcess;
  readonly facts: Promise<CoordinatorFacts>;
  /** Writes a line to its standard input. */
  tell(line: string): void;
  stop(): Promise<void>;
}

function spawn(options: CoordinatorRunOptions): Child {
  const [program, ...args] = selfCommand(COORDINATOR_FLAGS, ["serve", ...argumentsOf(options)]);
  const process = new Deno.Command(program!, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    env: { [SUPERVISED]: "yes" },
  }).spawn();
  const lines = process.stdin.getWriter();
  return {
    process,
    facts: readFacts(process),
    // Once it has ended there is nobody to tell.
    tell: (line) => void lines.write(new TextEncoder().encode(line + "\n")).catch(() => {}),
    async stop() {
      await lines.close().catch(() => {});
      const timer = setTimeout(() => process.kill("SIGKILL"), STOP_MS);
      await process.status;
      clearTimeout(timer);
    },
  };
}

async function readFacts(process: Deno.ChildProcess): Promise<CoordinatorFacts> {
  const lines = process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(
    new TextLineStream(),
  );
  const reader = lines.getReader();
  const { value } = await reader.read();
  if (value === undefined) {
    const { code } = await process.status;
    throw new MeshError("system", `Cannot start the coordinator: it ended with status ${code}`, {
      hint: "Its own message is above",
    });
  }
  // Whatever else it writes is drained, so that it never blocks on a full pipe.
  (async () => {
    while (!(await reader.read()).done);
  })().catch(() => {});
  return CoordinatorFacts.parse(JSON.parse(value));
}

function argumentsOf(options: CoordinatorRunOptions): string[] {
  const { listen, publicHosts, dataDir, cidr4, certificate, logLevel } = options;
  const { stunPort, stunAddress } = options;
  const host = listen.host?.includes(":") ? `[${listen.host}]` : listen.host ?? "";
  return [
    // Everything is said here: no file that happens to lie about may say otherwise.
    "--config",
    "/dev/null",
    "--listen",
    `${host}:${listen.port}`,
    ...publicHosts.flatMap((name) => ["--public-host", name]),
    "--stun-port",
    `${stunPort}`,
    ...(stunAddress ? ["--stun-address", stunAddress] : []),
    "--data-dir",
    dataDir,
    ...(cidr4 ? ["--cidr", cidr4] : []),
    ...(certificate ? ["--cert", certificate.certificatePath, "--key", certificate.keyPath] : []),
    "--log-level",
    logLevel,
  ];
}
