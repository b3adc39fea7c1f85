/**
 * Sees how a site treats UDP from both sides, with plain sockets (RFC 5780).
 * @module
 */
import type { Namespace } from "../lab/netns.ts";
import { type Process, waitFor } from "../lab/process.ts";
import type { Host } from "../lab/topology.ts";
import type { Dependence } from "../../sim/nat.ts";
import type { PublicHost } from "./internet.ts";
import { MAPPED_PORT, type SiteTraits } from "./kinds.ts";

/** A datagram that came. */
export interface Received {
  /** `address:port` of the socket that has it. */
  readonly local: string;
  /** `address:port` it came from, as seen there. */
  readonly from: string;
  readonly text: string;
}

/** How long something has to stay away to count as kept out. */
const SILENCE_MS = 300;
/** How long something may take that does come, on a busy machine. */
const REACH_MS = 3_000;
const RESEND_MS = 100;
/** How long a TCP connection may take before it counts as blocked. */
const CONNECT_SECONDS = 0.7;

/** Sockets on a machine; dispose of it to close them. */
export class Probe implements AsyncDisposable {
  /** `address:port` of the UDP sockets. */
  readonly locals: readonly string[];
  readonly #process: Process;

  private constructor(process: Process, locals: readonly string[]) {
    this.#process = process;
    this.locals = locals;
  }

  /** Opens UDP sockets at each `address:port`, and TCP listeners at each `tcp:address:port`. */
  static async open(machine: Namespace, endpoints: readonly string[]): Promise<Probe> {
    const process = machine.deno("tests/e2e/nat/udp_probe.ts", endpoints, { input: "" });
    try {
      await process.waitForOutput(/^ready$/m);
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
    return new Probe(process, endpoints.filter((each) => !each.startsWith("tcp:")));
  }

  /** A socket of a machine at a port, by default the {@link MAPPED_PORT}. */
  static at(host: Host, port = MAPPED_PORT): Promise<Probe> {
    return Probe.open(host.namespace, [`${host.ip4}:${port}`]);
  }

  /** Sends a text without line breaks. */
  async send(to: string, text: string, local = this.locals[0]!): Promise<void> {
    await this.#process.write(`${local} ${to} ${text}\n`);
  }

  /** Everything that has come so far. */
  received(): Received[] {
    return [...this.#process.stdout.matchAll(/^(\S+) (\S+) (.*)\n/gm)]
      .map(([_line, local, from, text]) => ({ local: local!, from: from!, text: text! }));
  }

  /** The first datagram with that text; null when none comes in time. */
  waitForText(text: string, timeoutMs: number): Promise<Received | null> {
    const find = () => this.received().find((each) => each.text === text);
    return waitFor(text, find, { timeoutMs, everyMs: 10 }).catch(() => null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** The two addresses with two ports each that {@link observe} needs, on one public machine. */
export class Reflector implements AsyncDisposable {
  readonly probe: Probe;
  readonly host: PublicHost;

  private constructor(probe: Probe, host: PublicHost) {
    this.probe = probe;
    this.host = host;
  }

  /** Opens it, and more ports beside, in the form of {@link Probe.open}. */
  static async open(host: PublicHost, more: readonly string[] = []): Promise<Reflector> {
    const [first, second] = host.ip4s;
    if (second === undefined) throw new RangeError("Cannot reflect: one address is not enough");
    const own = [first, second].flatMap((ip) => [`${ip}:3478`, `${ip}:3479`]);
    return new Reflector(await Probe.open(host.namespace, [...own, ...more]), host);
  }

  /** Its endpoints: one, the same with another port, with another address, with both. */
  get endpoints(): readonly [string, string, string, string] {
    return this.probe.locals.slice(0, 4) as [string, string, string, string];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.probe[Symbol.asyncDispose]();
  }
}

let texts = 0;

/** A text that no datagram had before. */
export function freshText(): string {
  return `t${++texts}`;
}

/**
 * Sends to an endpoint of another probe, again and again, until something arrives there. Returns
 * the source it is seen to come from; null when nothing arrives.
 */
export async function seenFrom(
  from: Probe,
  to: Probe,
  endpoint: string,
  timeoutMs = REACH_MS,
): Promise<string | null> {
  const text = freshText();
  for (const start = performance.now(); performance.now() - start < timeoutMs;) {
    await from.send(endpoint, text);
    const seen = await to.waitForText(text, RESEND_MS);
    if (seen) return seen.from;
  }
  return null;
}

/** Whether what is sent to an endpoint stays away from a probe, for a short while. */
export async function isKeptOut(from: Probe, to: Probe, endpoint: string): Promise<boolean> {
  return await seenFrom(from, to, endpoint, SILENCE_MS) === null;
}

/**
 * What a socket can tell about the routers in front of it. The socket must be fresh: whom it has
 * sent to before would be admitted.
 */
export async function observe(socket: Probe, reflector: Reflector): Promise<SiteTraits> {
  const { probe, endpoints: [one, otherPort, otherAddress, both] } = reflector;
  const mapped = await seenFrom(socket, probe, one);
  if (mapped === null) return BLOCKED;
  const admitted = await admittedTo(socket, mapped, reflector);
  const seenAt = async (endpoint: string) => await seenFrom(socket, probe, endpoint) === mapped;
  const isSameForPort = await seenAt(otherPort);
  const isSameForAddress = await seenAt(otherAddress) && await seenAt(both);
  const isUntouched = mapped === socket.locals[0];
  return {
    mapping: isUntouched ? "none" : dependence(isSameForAddress, isSameForPort),
    filtering: dependence(admitted.has(otherAddress), admitted.has(otherPort)),
    udp: true,
  };
}

/** Which endpoints of the reflector get in, of which only the first was ever sent to. */
async function admittedTo(
  socket: Probe,
  mapped: string,
  { probe, endpoints: [one, ...strangers] }: Reflector,
): Promise<Set<string>> {
  const text = freshText();
  for (const stranger of strangers) await probe.send(mapped, text, stranger);
  // Nothing overtakes on these links: when what comes last is there, nothing else will come.
  const last = freshText();
  await probe.send(mapped, last, one);
  if (!await socket.waitForText(last, REACH_MS)) throw new Error(`Cannot reach ${mapped} again`);
  return new Set(socket.received().filter((each) => each.text === text).map((each) => each.from));
}

const BLOCKED: SiteTraits = {
  mapping: "endpoint-independent",
  filtering: "address-and-port-dependent",
  udp: false,
};

/** By whether it is the same for another address, and for another port of the same one. */
function dependence(forAddress: boolean, forPort: boolean): Dependence {
  if (forAddress) return "endpoint-independent";
  return forPort ? "address-dependent" : "address-and-port-dependent";
}

/** Whether a machine can open a TCP connection to `address:port`. */
export async function canConnect(machine: Namespace, endpoint: string): Promise<boolean> {
  const target = endpoint.replace(":", "/");
  const attempt = ["timeout", `${CONNECT_SECONDS}`, "bash", "-c", `< /dev/tcp/${target}`];
  return (await machine.run(attempt)).code === 0;
}
