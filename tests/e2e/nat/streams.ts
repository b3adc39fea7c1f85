/**
 * Long-lived traffic through the tunnel, watched while the network below it changes: numbered
 * datagrams, bulk TCP, an SSH login.
 * @module
 */
import type { Node } from "../lab/node.ts";
import { type Process, waitFor } from "../lab/process.ts";

const DATAGRAM_PORT = 7001;
const BULK_PORT = 7002;
/** What is under way when the sender ends arrives within this, or never. */
const LINGER_MS = 700;

/** Two processes, one at each end. */
class Ends implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly sender: Process;
  readonly receiver: Process;

  private constructor(sender: Process, receiver: Process) {
    this.receiver = this.#stack.use(receiver);
    this.sender = this.#stack.use(sender);
  }

  static async start(from: Node, to: Node, kind: "udp" | "tcp", args: string[]): Promise<Ends> {
    const script = "tests/e2e/nat/stream_peer.ts";
    const { ip4 } = await to.addresses();
    const [port = ""] = args;
    const receiver = to.machine.deno(script, [`${kind}-receive`, port], { input: "" });
    try {
      await receiver.waitForOutput(/^ready$/m);
      const sender = from.machine.deno(script, [`${kind}-send`, ip4, ...args], { input: "" });
      return new Ends(sender, receiver);
    } catch (error) {
      await receiver[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends the sender, then the receiver; returns what both say. */
  async finish<S, R>(): Promise<S & R> {
    const sent = await resultOf<S>(this.sender);
    await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
    return { ...sent, ...await resultOf<R>(this.receiver) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

async function resultOf<T>(process: Process): Promise<T> {
  await process.closeInput();
  await process.waitForExit();
  await process.drained;
  const line = /^\{.*\}$/m.exec(process.stdout)?.[0];
  if (line === undefined) throw new Error(process.report("failed"));
  return JSON.parse(line);
}

/** What became of numbered datagrams. */
export interface DatagramReport {
  readonly sent: number;
  readonly received: number;
  readonly doubled: number;
  /** Longest time between two that came. */
  readonly longestGapMs: number;
}

/** Numbered datagrams at a steady rate. */
export class DatagramStream implements AsyncDisposable {
  readonly #ends: Ends;

  private constructor(ends: Ends) {
    this.#ends = ends;
  }

  static async start(from: Node, to: Node, perSecond: number): Promise<DatagramStream> {
    return new DatagramStream(
      await Ends.start(from, to, "udp", [`${DATAGRAM_PORT}`, `${perSecond}`]),
    );
  }

  finish(): Promise<DatagramReport> {
    return this.#ends.finish<DatagramReport, DatagramReport>();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ends[Symbol.asyncDispose]();
  }
}

/** What became of a TCP connection. */
export interface BulkReport {
  readonly bytes: number;
  /** Longest time without progress at the receiver. */
  readonly longestStallMs: number;
}

/** One TCP connection that carries as much as it can. */
export class BulkStream implements AsyncDisposable {
  readonly #ends: Ends;

  private constructor(ends: Ends) {
    this.#ends = ends;
  }

  static async start(from: Node, to: Node): Promise<BulkStream> {
    const stream = new BulkStream(await Ends.start(from, to, "tcp", [`${BULK_PORT}`]));
    try {
      await stream.waitForProgress();
      return stream;
    } catch (error) {
      await stream[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Bytes that have arrived. */
  get bytes(): number {
    return Number(/(\d+)\n$/.exec(this.#ends.receiver.stderr)?.[1] ?? 0);
  }

  /** Waits until some more has arrived; returns the wait in ms. */
  async waitForProgress(bytes = 1e6, timeoutMs = 20_000): Promise<number> {
    const [start, before] = [performance.now(), this.bytes];
    await waitFor("progress of the transfer", () => this.bytes >= before + bytes, { timeoutMs });
    return performance.now() - start;
  }

  finish(): Promise<BulkReport> {
    return this.#ends.finish<BulkReport, BulkReport>();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ends[Symbol.asyncDispose]();
  }
}

/** Settings of a server that knows one key and nothing of the machine's own. */
const SERVER_SETTINGS = [
  "Port=22",
  "HostKey=/run/ssh/host",
  "AuthorizedKeysFile=/run/ssh/key.pub",
  "PidFile=none",
  "UsePAM=no",
  "StrictModes=no",
  "PermitRootLogin=prohibit-password",
];
const CLIENT_SETTINGS = [
  "StrictHostKeyChecking=no",
  "UserKnownHostsFile=/dev/null",
  "IdentitiesOnly=yes",
  "LogLevel=ERROR",
];

/** An SSH login by mesh name, with a program at the far end that repeats every line. */
export class Login implements AsyncDisposable {
  readonly #server: Process;
  readonly #client: Process;
  #count = 0;

  private constructor(server: Process, client: Process) {
    this.#server = server;
    this.#client = client;
  }

  static async start(from: Node, to: Node): Promise<Login> {
    const prepare = [
      "mkdir -p /run/sshd /run/ssh",
      "ssh-keygen -q -t ed25519 -N '' -f /run/ssh/host",
      "ssh-keygen -q -t ed25519 -N '' -f /run/ssh/key",
      // A locked account is refused, whatever key it has.
      "sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow",
    ];
    await to.machine.must(["sh", "-c", prepare.join(" && ")]);
    const key = from.machine.hostPath("~/key");
    await Deno.writeTextFile(key, (await to.machine.readFile("/run/ssh/key"))!, { mode: 0o600 });
    const settings = SERVER_SETTINGS.flatMap((each) => ["-o", each]);
    const server = to.machine.spawn(["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", ...settings]);
    const options = [...CLIENT_SETTINGS.flatMap((each) => ["-o", each]), "-i", key];
    const command = ["ssh", ...options, `root@${to.name}.mesh`, "cat"];
    try {
      await server.waitForOutput(/Server listening/);
      const client = from.machine.spawn(command, { input: "" });
      return new Login(server, client);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Sends a line and waits until it comes back; returns the wait in ms. */
  async echo(timeoutMs = 10_000): Promise<number> {
    const text = `line${++this.#count}.`;
    const start = performance.now();
    await this.#client.write(`${text}\n`);
    await this.#client.waitForOutput(new RegExp(text.replace(".", "\\.")), timeoutMs);
    return performance.now() - start;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
  }
}
