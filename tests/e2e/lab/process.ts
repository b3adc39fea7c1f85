/**
 * Runs programs for tests: captured output, bounded waits, and an end that is certain.
 * @module
 */

/** How a finished command ended. */
export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to start a program. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Text for standard input; without it the program reads an empty one. */
  readonly input?: string;
  /** After this long the program and its descendants are killed. Default 60 000. */
  readonly timeoutMs?: number;
}

/** How long and how often {@link waitFor} looks. */
export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly everyMs?: number;
}

/** Variables that would let a test reach services of the machine it runs on. */
const HIDDEN_VARIABLE = /^(TUNNELMESH_(?!TEST_)|SSH_|DBUS_|XDG_|NOTIFY_SOCKET|LISTEN_)/;

/** The environment of every program in the lab: the caller's, without its links to the outside. */
export function labEnvironment(
  extra: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const inherited = Object.entries(Deno.env.toObject())
    .filter(([name]) => !HIDDEN_VARIABLE.test(name));
  return { ...Object.fromEntries(inherited), NO_COLOR: "1", LC_ALL: "C.UTF-8", ...extra };
}

/** Runs a command to its end. Never throws for what the command did. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Output> {
  await using child = spawn(command, options);
  await child.waitForExit(options.timeoutMs ?? 60_000).catch(() => child.killTree("SIGKILL"));
  const { code } = await child.exited;
  await child.drained;
  return { code, stdout: child.stdout, stderr: child.stderr };
}

/** Runs a command that has to succeed; returns its standard output. */
export async function must(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const output = await run(command, options);
  if (output.code !== 0) {
    throw new Error(
      `Cannot run "${
        command.join(" ")
      }": exit status ${output.code}\n${output.stderr}${output.stdout}`,
    );
  }
  return output.stdout;
}

/** Starts a command in the background; dispose of it to end it. */
export function spawn(command: readonly string[], options: RunOptions = {}): Process {
  return new Process(command, options);
}

/** A program in the background, all it has written so far, and the means to end it. */
export class Process implements AsyncDisposable {
  readonly command: readonly string[];
  readonly pid: number;
  readonly exited: Promise<Deno.CommandStatus>;
  /** Resolves when all output has been read, which a surviving grandchild can delay. */
  readonly drained: Promise<unknown>;
  #stdout = "";
  #stderr = "";
  #status: Deno.CommandStatus | null = null;
  readonly #readers: ReadableStreamDefaultReader<Uint8Array>[] = [];
  #input: WritableStreamDefaultWriter<Uint8Array> | null = null;

  constructor(command: readonly string[], options: RunOptions = {}) {
    this.command = command;
    const child = new Deno.Command(command[0]!, {
      args: command.slice(1),
      env: labEnvironment(options.env),
      clearEnv: true,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdin: options.input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = child.pid;
    this.exited = child.status.then((status) => this.#status = status);
    this.drained = Promise.all([
      this.#collect(child.stdout, (text) => this.#stdout += text),
      this.#collect(child.stderr, (text) => this.#stderr += text),
    ]);
    if (options.input !== undefined) {
      this.#input = child.stdin.getWriter();
      // An empty text keeps standard input open for write(); a full one ends with it.
      if (options.input !== "") this.write(options.input).then(() => this.closeInput());
    }
  }

  /** What the program has written to standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return this.#status === null;
  }

  /** Writes to standard input, when the program was started with `input`. */
  async write(text: string): Promise<void> {
    await this.#input?.write(new TextEncoder().encode(text)).catch(() => {});
  }

  /** Ends standard input. */
  async closeInput(): Promise<void> {
    const input = this.#input;
    this.#input = null;
    await input?.close().catch(() => {});
  }

  /** Waits until the output (either stream) matches. @throws when the program ends first. */
  waitForOutput(pattern: RegExp, timeoutMs = 20_000): Promise<RegExpExecArray> {
    return waitFor(`${pattern} in the output of ${this.#title}`, () => {
      const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
      if (match === null && !this.isRunning) throw new Error(this.report("ended early"));
      return match;
    }, { timeoutMs });
  }

  /** Waits for the end of the program. @throws when it lasts longer than `timeoutMs`. */
  async waitForExit(timeoutMs = 10_000): Promise<Deno.CommandStatus> {
    if (await isWithin(this.exited, timeoutMs)) return await this.exited;
    throw new Error(this.report("did not end"));
  }

  /** Sends a signal to the program alone. */
  kill(signal: Deno.Signal = "SIGTERM"): void {
    if (this.isRunning) signalPid(this.pid, signal);
  }

  /** Sends a signal to the program and all its descendants, as a power cut or `kill -9` would. */
  killTree(signal: Deno.Signal = "SIGKILL"): void {
    if (!this.isRunning) return;
    for (const pid of [...descendants(this.pid), this.pid]) signalPid(pid, signal);
  }

  /** Asks the program to end, then makes it. Returns its exit status. */
  async stop(signal: Deno.Signal = "SIGTERM", graceMs = 5_000): Promise<Deno.CommandStatus> {
    this.kill(signal);
    await this.waitForExit(graceMs).catch(() => this.killTree("SIGKILL"));
    return await this.exited;
  }

  /** The program's title and output, for the message of a failed test. */
  report(what: string): string {
    const tail = (text: string) => text.length > 4_000 ? `...${text.slice(-4_000)}` : text;
    return `${this.#title} ${what}\n--- stdout\n${tail(this.#stdout)}\n--- stderr\n${
      tail(this.#stderr)
    }`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isRunning) await this.stop("SIGTERM", 3_000);
    await this.closeInput();
    await isWithin(this.drained, 1_000);
    await Promise.all(this.#readers.map((reader) => reader.cancel().catch(() => {})));
    await this.drained;
  }

  get #title(): string {
    return `"${this.command.slice(-6).join(" ")}" (pid ${this.pid})`;
  }

  async #collect(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const reader = stream.getReader();
    this.#readers.push(reader);
    const decoder = new TextDecoder();
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        add(decoder.decode(next.value, { stream: true }));
      }
    } finally {
      reader.releaseLock();
    }
  }
}

/**
 * Looks every `everyMs` (default 20) until `probe` gives a value that is neither null, undefined nor
 * false, and returns it. What the probe throws ends the wait.
 * @throws when `timeoutMs` (default 10 000) have passed.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  { timeoutMs = 10_000, everyMs = 20 }: WaitOptions = {},
): Promise<Exclude<T, null | undefined | false>> {
  const start = performance.now();
  while (true) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) {
      return value as Exclude<T, null | undefined | false>;
    }
    if (performance.now() - start > timeoutMs) {
      throw new Error(`Cannot see ${what}: waited ${timeoutMs} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** Whether a promise is fulfilled in time. */
async function isWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), timeoutMs);
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Sends a signal; a process that is already gone is fine. */
export function signalPid(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Whether a process with that id runs; one that ended and was not yet reaped does not. */
export function isAlive(pid: number): boolean {
  const stat = readText(`/proc/${pid}/stat`);
  return stat !== null && !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
}

/** Process ids of all descendants, deepest last. */
export function descendants(pid: number): number[] {
  const childrenByParent = new Map<number, number[]>();
  for (const { name } of Deno.readDirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? readText(`/proc/${name}/stat`) : null;
    if (stat === null) continue;
    // The second field, the program's name, may hold spaces and parentheses (proc(5)).
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    childrenByParent.set(parent, [...childrenByParent.get(parent) ?? [], Number(name)]);
  }
  const found = [pid];
  for (const one of found) found.push(...childrenByParent.get(one) ?? []);
  return found.slice(1);
}

function readText(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}
