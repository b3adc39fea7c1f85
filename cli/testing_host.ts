/**
 * A host for tests: an empty home in a temporary directory.
 * @module
 */
import type { GlobalOptions } from "./globals.ts";
import type { Host } from "./host.ts";
import { Output } from "./output.ts";

/** No global option was given. */
export const NO_GLOBALS: GlobalOptions = {
  json: false,
  help: false,
  config: null,
  logLevel: null,
  context: null,
  identity: null,
  stateDir: null,
};

let root: string | undefined;

/** An empty directory that is gone when the tests of this process are over. */
export function tempDir(): string {
  if (root === undefined) {
    const made = Deno.makeTempDirSync({ prefix: "tunnelmesh-test-" });
    addEventListener("unload", () => Deno.removeSync(made, { recursive: true }));
    root = made;
  }
  return Deno.makeTempDirSync({ dir: root });
}

/** A user's machine; the home is also the working directory. */
export function testHost(changes: Partial<Host> = {}): Host {
  const home = changes.home ?? tempDir();
  return {
    env: {},
    cwd: home,
    home,
    isRoot: false,
    owner: null,
    isInteractive: false,
    columns: null,
    ...changes,
  };
}

/** An output whose texts can be read. */
export class TestOutput extends Output {
  readonly written: string[];
  readonly errors: string[];

  constructor(isJson = false) {
    const [written, errors]: [string[], string[]] = [[], []];
    super({
      isJson,
      isColor: false,
      isErrorColor: false,
      columns: null,
      write: (text) => written.push(text),
      writeError: (text) => errors.push(text),
    });
    this.written = written;
    this.errors = errors;
  }
}
