/**
 * Runs a child process, shows what it prints as it prints it, and keeps a copy.
 * @module
 */

/** How a child process ended. */
export interface Finished {
  readonly code: number;
  /** Everything it wrote to standard output and standard error, as it came. */
  readonly output: string;
  readonly ms: number;
  /** Whether it was ended because it took longer than allowed. */
  readonly isTimedOut: boolean;
}

/** What to run. */
export interface Run {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Ends it after this time; it gets another 10 s to clean up. */
  readonly limitMs?: number;
  /** Show nothing while it runs. */
  readonly isQuiet?: boolean;
}

const GRACE_MS = 10_000;
/** How long to read on after the child has ended. */
const PIPE_MS = 2_000;

/** Runs a command in the repository's root. */
export async function run(what: Run): Promise<Finished> {
  const started = performance.now();
  const child = new Deno.Command(what.command, {
    args: [...what.args],
    cwd: new URL("..", import.meta.url),
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0", DENO_NO_UPDATE_CHECK: "1", ...what.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let isTimedOut = false;
  const timers: ReturnType<typeof setTimeout>[] = [];
  if (what.limitMs !== undefined) {
    timers.push(setTimeout(() => {
      isTimedOut = true;
      child.kill("SIGTERM");
      timers.push(setTimeout(() => child.kill("SIGKILL"), GRACE_MS));
    }, what.limitMs));
  }
  let output = "";
  const show = (to: typeof Deno.stdout) => (text: string, bytes: Uint8Array) => {
    output += text;
    if (!what.isQuiet) to.writeSync(bytes);
  };
  const copies = [copy(child.stdout, show(Deno.stdout)), copy(child.stderr, show(Deno.stderr))];
  const { code } = await child.status;
  // A grandchild may hold the pipes open; what counts is that the child itself has ended.
  timers.push(setTimeout(() => copies.forEach((each) => each.stop()), PIPE_MS));
  await Promise.all(copies.map((each) => each.done));
  timers.forEach((timer) => clearTimeout(timer));
  return { code, output, ms: performance.now() - started, isTimedOut };
}

/** Runs this very Deno, which need not be on the PATH. */
export function runDeno(args: readonly string[], options: Omit<Run, "command" | "args"> = {}) {
  return run({ command: Deno.execPath(), args, ...options });
}

/** `1.2 s` for 1234. */
export function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

interface Copying {
  /** Resolves at the end of the stream, or after {@link stop}. */
  readonly done: Promise<void>;
  stop(): void;
}

function copy(
  stream: ReadableStream<Uint8Array>,
  show: (text: string, bytes: Uint8Array) => void,
): Copying {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  async function readAll(): Promise<void> {
    for (let chunk; !(chunk = await reader.read()).done;) {
      show(decoder.decode(chunk.value, { stream: true }), chunk.value);
    }
  }
  return { done: readAll(), stop: () => void reader.cancel() };
}
