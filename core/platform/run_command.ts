/**
 * Runs a program of the system with what it is to read, without a shell, in the C locale.
 * @module
 */
import { errorMessage, MeshError } from "../errors.ts";
import type { Command } from "../exit/changes.ts";

/** How a program ended and what it said. */
export interface CommandAnswer {
  /** 0 for success. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; tests put a false system here. */
export type Run = (command: Command) => Promise<CommandAnswer>;

/** @throws {MeshError} `system` when the program cannot be started. */
export async function runCommand({ argv, input }: Command): Promise<CommandAnswer> {
  const [program, ...args] = argv;
  try {
    const child = new Deno.Command(program, {
      args,
      env: { LC_ALL: "C" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    // One that ends before it has read everything says why on its own.
    await writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (error) {
    throw new MeshError("system", `Cannot run ${program}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/**
 * What a command prints when it succeeds.
 * @param action What failed, e.g. `change routes`.
 * @throws {MeshError} `system` with what the program said.
 */
export async function outputOf(run: Run, command: Command, action: string): Promise<string> {
  const { code, stdout, stderr } = await run(command);
  if (code === 0) return stdout;
  const said = stderr.trim() || stdout.trim() || `status ${code}`;
  throw new MeshError("system", `Cannot ${action}: ${said}`, {
    hint: `See what keeps this from working: ${command.argv.join(" ")}`,
  });
}
