/**
 * The program: runs the command line and exits with its status.
 * @module
 */
import { run } from "./cli/mod.ts";

if (import.meta.main) Deno.exit(await run(Deno.args));
