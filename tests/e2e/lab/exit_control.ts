/**
 * Drives the scripts on the machines of an {@link ExitWorld}.
 * @module
 */
import { COORDINATOR4, COORDINATOR6, MARK, WORLD4, WORLD6 } from "./exit_world.ts";
import { type Process, waitFor } from "./process.ts";

/** Settings of the client, as {@link tell} sends them: `ClientExitSettings` with prefixes as text. */
export const CLIENT = {
  context: "default",
  interfaceName: "tm0",
  mark: MARK,
  table: 8564,
  priority: 4200,
  udpPorts: [51820],
  tcpPorts: [] as number[],
  endpoints: [
    { ip: COORDINATOR4, protocol: "tcp", port: 9999 },
    { ip: COORDINATOR6, protocol: "tcp", port: 9999 },
  ],
  otherMeshes: [],
  lanPrefixes: [] as string[],
  ipv4: true,
  ipv6: true,
  onLoss: "block",
};
/** The same of the exit: `ServerSettings`. */
export const SERVER = {
  context: "default",
  interfaceName: "tm0",
  meshPrefixes: ["172.30.0.0/16", "fd00:1::/64"],
  isExit: true,
  routes: [] as unknown[],
};

/** Sends a line to a script and waits for the next line of its answers. */
export async function tell(process: Process, line: string | object): Promise<string> {
  const before = process.stdout.split("\n").length;
  await process.write((typeof line === "string" ? line : JSON.stringify(line)) + "\n");
  return await waitFor("an answer", () => {
    if (!process.isRunning) throw new Error(process.report("ended early"));
    return process.stdout.split("\n").slice(before - 1, -1)[0];
  });
}

/** Asks the probe who a server sees; "none" without an answer. */
export class Probe {
  readonly #process: Process;
  #count = 0;

  constructor(process: Process) {
    this.#process = process;
  }

  async ask(transport: "udp" | "tcp", endpoint: string): Promise<string> {
    const number = ++this.#count;
    await this.#process.write(`${number} ${transport} ${endpoint}\n`);
    const answer = new RegExp(`^${number} (.*)$`, "m");
    return (await this.#process.waitForOutput(answer))[1]!;
  }

  /** By UDP and TCP, IPv4 and IPv6, to a server and to a resolver that programs know by address. */
  async askAll(): Promise<string[]> {
    const targets = [`${WORLD4}:9999`, `${WORLD4}:53`, `[${WORLD6}]:9999`, `[${WORLD6}]:53`];
    const asked = targets.flatMap((target) => [this.ask("udp", target), this.ask("tcp", target)]);
    return [...new Set(await Promise.all(asked))];
  }
}
