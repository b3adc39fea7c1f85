/**
 * How does the program start itself again, as another process with fewer rights?
 *
 * A compiled executable has its rights built in; run from source or from the portable bundle, the
 * runtime is told which rights the new process gets.
 * @module
 */
import { fileURLToPath } from "node:url";

/** Rights of a child, as flags of the runtime. */
export type RuntimeFlags = readonly string[];

/** A coordinator's: everything but native code and other programs. */
export const COORDINATOR_FLAGS: RuntimeFlags = [
  "--allow-net",
  "--allow-read=/",
  "--allow-write=/",
  "--allow-env",
  "--allow-sys",
];

/** Program and arguments that run `tunnelmesh` with `args`. */
export function selfCommand(flags: RuntimeFlags, args: readonly string[]): string[] {
  const program = Deno.execPath();
  if (Deno.build.standalone) return [program, ...args];
  const main = fileURLToPath(Deno.mainModule);
  const unstable = ["--unstable-net", "--unstable-worker-options"];
  const config = main.endsWith(".ts")
    ? ["--config", main.replace(/[^/]+$/, "deno.json")]
    : ["--no-config", "--no-lock"];
  const run = ["run", "--quiet", "--no-prompt", "--cached-only", ...config, ...unstable, ...flags];
  return [program, ...run, main, ...args];
}
