/**
 * Runs a command in a test's own process, against a mesh that its daemon fakes.
 * @module
 */
import { ERRORS, MeshError } from "../core/errors.ts";
import type { Command, CommandContext } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { ControlClient } from "./control_client.ts";
import { FakeMeshDaemon } from "./fake_mesh_daemon.ts";
import type { Host } from "./host.ts";
import { inputSpecOf } from "./input_options.ts";
import { parseArguments } from "./parse.ts";
import { NO_GLOBALS, tempDir, testHost, TestOutput } from "./testing_host.ts";

/** What a command printed and how it ended. */
export interface CommandResult {
  readonly code: number;
  /** Standard output. */
  readonly text: string;
  readonly errors: string;
  readonly error: MeshError | null;
}

/** A user at the machine of a {@link FakeMeshDaemon}. */
export class TestUser implements AsyncDisposable {
  readonly mesh = new FakeMeshDaemon(`${tempDir()}/d.sock`);
  readonly host: Host = testHost();

  /** Writes a file below the working directory. */
  write(path: string, text: string, mode = 0o644): void {
    const at = `${this.host.cwd}/${path}`;
    Deno.mkdirSync(at.slice(0, at.lastIndexOf("/")), { recursive: true });
    Deno.writeTextFileSync(at, text);
    Deno.chmodSync(at, mode);
  }

  read(path: string): string {
    return Deno.readTextFileSync(`${this.host.cwd}/${path}`);
  }

  /** Runs `tunnelmesh WORDS`. */
  async run(...words: string[]): Promise<CommandResult> {
    const isJson = words.includes("--json");
    const out = new TestOutput(isJson);
    const clients: ControlClient[] = [];
    const context: CommandContext = {
      globals: { ...NO_GLOBALS, json: isJson },
      host: this.host,
      out,
      socketPath: () => Promise.resolve(this.mesh.socketPath),
      daemon: async () => {
        clients[0] ??= await ControlClient.connect(this.mesh.socketPath);
        return clients[0];
      },
      commands: () => Promise.resolve([]),
      contexts: () => Promise.reject(new Error("not used")),
      config: () => Promise.reject(new Error("not used")),
    };
    let code: number;
    let error: MeshError | null = null;
    try {
      code = await (await prepare(words, context)).run();
    } catch (thrown) {
      if (!(thrown instanceof MeshError)) throw thrown;
      error = thrown;
      code = ERRORS[thrown.code].exit;
    } finally {
      clients.forEach(close);
    }
    return { code, text: out.written.join(""), errors: out.errors.join(""), error };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}

/** Most commands have closed it; one that failed leaves that to the end of its process. */
function close(client: ControlClient): void {
  try {
    client[Symbol.dispose]();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

async function prepare(words: readonly string[], context: CommandContext) {
  let command: Command = await COMMANDS[words[0]!]!();
  let at = 1;
  while (command.subcommands.length > 0) {
    const name = words[at++];
    const child = command.subcommands.find((each) =>
      each.name === name || each.aliases.includes(name ?? "")
    );
    if (!child) throw new Error(`no command ${words.join(" ")}`);
    command = child;
  }
  const { values } = parseArguments(inputSpecOf(command), words.slice(at), words.join(" "));
  const input = command.input?.safeParse(values);
  if (input && !input.success) throw new MeshError("usage", input.error.message);
  return await command.prepare(input?.data ?? {}, context);
}
