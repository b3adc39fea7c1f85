/**
 * TunnelMesh on a machine of the lab: started by its own command line as a user would, observed
 * through its local socket, ended in every way a process can end.
 * @module
 */
import type { StatusReport } from "../../../core/daemon/api_types.ts";
import { wireguardKeyOf } from "../../../core/identity/keys.ts";
import { parsePrivateKey } from "../../../core/identity/openssh.ts";
import { denoCommand, type Namespace, ROOT } from "./netns.ts";
import { must, type Output, type Process, type RunOptions, waitFor } from "./process.ts";
import type { Host } from "./topology.ts";

/** How to start a node. */
export interface NodeOptions {
  /** Default: the machine's label. */
  readonly name?: string;
  /** One of several that its machine runs; the commands name it. */
  readonly context?: string;
  /** Text of a configuration file, given with `-c`. */
  readonly config?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** More of the command line. */
  readonly args?: readonly string[];
}

/** What the line that `up` prints holds. */
export interface Invitation {
  readonly url: string;
  readonly token: string;
}

const INVITATION = /tunnelmesh join (https:\/\/\S+) --token (tm2_\S+)/;

const DEFAULT_CONTEXT = "default";

/** How long a start may take before the test gives up, on a busy machine. */
const START_MS = 30_000;

/** Runs the command line tool on a machine. */
export function tunnelmesh(
  machine: Namespace,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Output> {
  return machine.run(denoCommand("main.ts", args), options);
}

/** Starts the command line tool on a machine and leaves it running. */
export function spawnTunnelmesh(
  machine: Namespace,
  args: readonly string[],
  options: RunOptions = {},
): Process {
  return machine.deno("main.ts", args, options);
}

/** Makes sure that all dependencies are in Deno's cache: machines of the lab have no internet. */
export async function prefetch(): Promise<void> {
  await must([Deno.execPath(), "install", "--quiet", "--frozen"], {
    cwd: ROOT,
    timeoutMs: 300_000,
  });
}

/** One node and the process it is; dispose of it to stop it. */
export class Node implements AsyncDisposable {
  readonly host: Host;
  readonly name: string;
  readonly context: string | null;
  /** Only where it was started by `up`. */
  invitation: Invitation | null = null;
  readonly #command: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #process: Process | null = null;
  #pastOutput = "";
  #client: Deno.HttpClient | null = null;

  private constructor(host: Host, command: readonly string[], options: NodeOptions) {
    this.host = host;
    this.name = options.name ?? host.label;
    this.context = options.context ?? null;
    this.#command = command;
    this.#env = options.env ?? {};
  }

  /** Starts a coordinator with a node beside it. */
  static async up(host: Host, options: NodeOptions = {}): Promise<Node> {
    const command = ["up", "--public-host", host.ip4, ...await commonArgs(host, options)];
    const node = new Node(host, command, options);
    await node.start();
    return node;
  }

  /** Starts a node that joins; resolves when it forwards traffic. */
  static async join(host: Host, to: Invitation, options: NodeOptions = {}): Promise<Node> {
    const common = await commonArgs(host, options);
    const node = new Node(host, ["join", to.url, "--token", to.token, ...common], options);
    await node.start();
    return node;
  }

  /** Starts it again with the same command line; the machine must hold no running one. */
  async start(): Promise<void> {
    this.spawn();
    try {
      await this.waitUntilReady();
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts the process and does not wait for anything. */
  spawn(): void {
    if (this.#process?.isRunning) throw new Error(`${this.name} is running`);
    this.#pastOutput += this.#process?.report("was") ?? "";
    this.#process = spawnTunnelmesh(this.machine, this.#command, { env: this.#env });
  }

  /** Waits for the local API, and for the invitation when it is a coordinator. */
  async waitUntilReady(): Promise<void> {
    if (this.#command[0] === "up" && this.invitation === null) {
      const match = await this.process.waitForOutput(INVITATION, START_MS);
      this.invitation = { url: match[1]!, token: match[2]! };
    }
    await this.waitForStatus("a status", () => true, START_MS);
  }

  /** The machine it runs on. */
  get machine(): Namespace {
    return this.host.namespace;
  }

  /** The process of the present or last start. */
  get process(): Process {
    if (this.#process === null) throw new Error(`${this.name} was never started`);
    return this.#process;
  }

  /** Everything it has written, over all starts. */
  get log(): string {
    return this.#pastOutput + (this.#process?.report("is") ?? "");
  }

  /** Runs another command of the tool on its machine. */
  cli(...args: string[]): Promise<Output> {
    const context = this.context === null ? [] : ["--context", this.context];
    return tunnelmesh(this.machine, [...context, ...args], { env: this.#env });
  }

  /** Runs a command with `--json`, which has to succeed, and parses its single line. */
  async cliJson<T>(...args: string[]): Promise<T> {
    const output = await this.cli("--json", ...args);
    if (output.code !== 0) {
      throw new Error(`Cannot run "${args.join(" ")}" on ${this.name}: ${output.stderr}`);
    }
    return JSON.parse(output.stdout);
  }

  /** Asks the daemon to do something. */
  async post(path: string, body: unknown): Promise<void> {
    const response = await fetch(`http://localhost${path}`, {
      client: this.#localClient(),
      method: "POST",
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`Cannot ask ${this.name} for ${path}: ${text}`);
  }

  /** What the daemon reports about itself; null when it does not answer. */
  async status(): Promise<StatusReport | null> {
    try {
      return await this.api<StatusReport>("/v1/status");
    } catch {
      return null;
    }
  }

  /** Asks the daemon's local API. */
  async api<T>(path: string): Promise<T> {
    const response = await fetch(`http://localhost${path}`, { client: this.#localClient() });
    if (response.ok) return await response.json();
    throw new Error(`${this.name} answered ${response.status}: ${await response.text()}`);
  }

  /** One client for all polls: making many of them stalls for seconds now and then. */
  #localClient(): Deno.HttpClient {
    return this.#client ??= Deno.createHttpClient({
      proxy: { transport: "unix", path: this.machine.hostPath(this.#socket) },
      poolMaxIdlePerHost: 0,
    });
  }

  /** Where the daemon's local API listens on its machine, as root's. */
  get #socket(): string {
    return `/run/tunnelmesh/${this.context ?? DEFAULT_CONTEXT}.sock`;
  }

  /** What the daemon reports; it has to run. */
  async mustStatus(): Promise<StatusReport> {
    const status = await this.status();
    if (status === null) throw new Error(`Cannot ask ${this.name}: its daemon does not answer`);
    return status;
  }

  /** Waits until the status satisfies `accept`, and returns it. */
  waitForStatus(
    what: string,
    accept: (status: StatusReport) => boolean,
    timeoutMs = 10_000,
  ): Promise<StatusReport> {
    return waitFor(`${what} of ${this.name}`, async () => {
      if (!this.process.isRunning) throw new Error(this.process.report("ended early"));
      const status = await this.status();
      return status !== null && accept(status) ? status : null;
    }, { timeoutMs, everyMs: 25 });
  }

  /** Waits until it is connected to its coordinator. */
  waitUntilConnected(timeoutMs = 10_000): Promise<StatusReport> {
    const isConnected = (status: StatusReport) => status.coordinator.state === "connected";
    return this.waitForStatus("a connection to the coordinator", isConnected, timeoutMs);
  }

  /** Waits until it has a session over UDP with each of those peers. */
  waitUntilDirect(peers: readonly string[], timeoutMs = 10_000): Promise<StatusReport> {
    return this.waitForStatus(`direct sessions with ${peers.join(", ")}`, (status) => {
      return peers.every((name) =>
        status.peers.some((peer) =>
          peer.name === name && peer.session === "up" && peer.link === "udp"
        )
      );
    }, timeoutMs);
  }

  /** Its mesh addresses. */
  async addresses(): Promise<{ ip4: string; ip6: string }> {
    const { addresses } = await this.mustStatus();
    const ip4 = addresses.find((address) => !address.includes(":"));
    const ip6 = addresses.find((address) => address.includes(":"));
    if (!ip4 || !ip6) throw new Error(`${this.name} lacks an address: ${addresses}`);
    return { ip4, ip6 };
  }

  /** The public key of its WireGuard side, base64. */
  async wireguardKey(): Promise<string> {
    const text = await this.machine.readFile("~/.tunnelmesh/id_ed25519");
    if (text === null) throw new Error(`${this.name} has no identity`);
    return wireguardKeyOf(parsePrivateKey(text).publicKey).toBase64();
  }

  /** `kill -9` of all its processes at once. */
  async killHard(): Promise<void> {
    this.process.killTree("SIGKILL");
    await this.process.exited;
  }

  /** Stops it with SIGTERM; returns its exit status, 137 when it had to be killed. */
  async stop(): Promise<number> {
    return (await this.process.stop("SIGTERM", 8_000)).code;
  }

  /** Resident memory of its daemon, in bytes. */
  async residentBytes(): Promise<number> {
    const { pid } = await this.mustStatus();
    const text = await Deno.readTextFile(`/proc/${pid}/status`);
    return Number(/VmRSS:\s+(\d+) kB/.exec(text)![1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
    this.#client?.close();
    this.#client = null;
  }
}

async function commonArgs(host: Host, options: NodeOptions): Promise<string[]> {
  const { context } = options;
  const args = [
    ...context === undefined ? [] : ["--context", context],
    "--name",
    options.name ?? host.label,
    ...options.args ?? [],
  ];
  if (options.config === undefined) return args;
  const path = `${host.namespace.directory}/home/node.yaml`;
  await Deno.writeTextFile(path, options.config, { mode: 0o600 });
  return [...args, "-c", path];
}
