/**
 * How fast is the relay, and what does an idle connection to it cost? Sender, coordinator and
 * receiver are processes of their own on loopback with real TLS.
 *
 * The peer that goodput is compared with is the same `ws` over the same TLS between the same
 * processes, that passes messages on without reading them: what is missing to 1.00 is the hub's.
 *
 * Usage: deno task bench:relay [--json] [--seconds 5] [--rounds 3]
 *        deno task bench:relay --idle N [--json]
 * @module
 */
import { parseArgs } from "node:util";
// @ts-types="@types/ws"
import { WebSocket, WebSocketServer } from "ws";
import { type HttpsServer, openHttpsServer } from "../coordinator/https_server.ts";
import { RelaySockets } from "../coordinator/relay_sockets.ts";
import { MeshCa } from "../coordinator/tls.ts";
import { toBase64Url, utf8 } from "../core/bytes.ts";
import { tlsOptions } from "../core/daemon/tls_pin.ts";
import { systemRandom } from "../core/daemon/system_random.ts";
import { type Identity, identityFromSeed } from "../core/identity/keys.ts";
import { RelayLink } from "../transports/relay/client.ts";
import { MAX_FLOW_BYTES } from "../transports/relay/fair_queue.ts";
import { RelayHub, WINDOW_BYTES } from "../transports/relay/hub.ts";

/** Connections are up and code is compiled by then. */
const WARM_UP_MS = 2_000;
/** Idle connections ping each other's relay for so long before they are weighed. */
const SETTLE_MS = 15_000;
/** Idle clients that greet at a time; below what the hub lets wait. */
const AT_ONCE = 100;
/** What must hold. */
const LEAST_MBIT = 400;
const MOST_IDLE_BYTES = 1.5e9;
const IDLE_CONNECTIONS = 10_000;
/** The kernel counts processor time in /proc in units of 1/100 s on every architecture (proc(5)). */
const TICK_MS = 10;

/** Trains that are sent: what TCP makes, and single datagrams as acknowledgements and games are. */
const TRAINS = [{ segment: 1452, count: 45 }, { segment: 1452, count: 1 }] as const;
const SERVERS = ["hub", "plain"] as const;
type ServerName = typeof SERVERS[number];

/** What a child process is told, as JSON in its only argument. */
type Task =
  | { readonly role: "serve"; readonly server: ServerName; readonly members: number }
  | {
    readonly role: "send" | "receive";
    readonly server: ServerName;
    readonly url: string;
    readonly ca: string;
    readonly segment: number;
    readonly count: number;
  }
  | { readonly role: "idle"; readonly url: string; readonly ca: string; readonly members: number };

/** The identity of the member with a number. */
function member(number: number): Identity {
  const seed = new Uint8Array(32);
  new DataView(seed.buffer).setUint32(0, number + 1);
  return identityFromSeed(seed);
}

function clock(): number {
  return performance.now();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One line for the parent. */
function tell(what: object): void {
  Deno.stdout.writeSync(utf8(JSON.stringify(what) + "\n"));
}

async function serve({ server, members }: Extract<Task, { role: "serve" }>): Promise<void> {
  const dir = await Deno.makeTempDir();
  const mesh = { meshId: "00".repeat(16), cidr4: "172.30.0.0/16", prefix6: "fd00::/64" };
  const ca = await MeshCa.open(dir, mesh, { now: Date.now(), isEmpty: true });
  const pem = await ca.server(["127.0.0.1"], Date.now());
  await Deno.remove(dir, { recursive: true });
  const https = await openHttpsServer({
    listen: { hostname: "127.0.0.1", port: 0 },
    certificate: () => Promise.resolve(pem),
    handle: (_request, response) => response.writeHead(404).end(),
    log: () => {},
  });
  if (server === "hub") serveHub(https, members);
  else servePlain(https);
  tell({ url: `wss://127.0.0.1:${https.port}`, ca: ca.certificate });
}

function serveHub({ server }: HttpsServer, members: number): void {
  const keys = new Map<string, string>();
  for (let i = 0; i < members; i++) {
    const { peerId, publicKey } = member(i);
    keys.set(peerId, toBase64Url(publicKey));
  }
  const hub = new RelayHub({
    identityOf: (peer) => keys.get(peer) ?? null,
    random: systemRandom,
  });
  const upgrades = { burst: 1e6, perSecond: 1e6, capacity: 16 };
  const sockets = new RelaySockets(hub, { clock, upgrades });
  server.on("upgrade", sockets.accept.bind(sockets));
}

/** Passes each message on to the other of two connections, while it holds as much as a hub may. */
function servePlain({ server }: HttpsServer): void {
  const ends: { readonly socket: WebSocket; unwritten: number }[] = [];
  const upgrader = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  server.on("upgrade", (request, raw, head) => {
    upgrader.handleUpgrade(request, raw, head, (socket) => {
      const own = { socket, unwritten: 0 };
      ends.push(own);
      socket.on("message", (data: Uint8Array) => {
        const other = ends.find((end) => end !== own);
        if (!other || other.unwritten > WINDOW_BYTES + MAX_FLOW_BYTES) return;
        other.unwritten += data.length;
        other.socket.send(data, () => other.unwritten -= data.length);
      });
    });
  });
}

/** One end of a transfer: sends `bytes` when there is room, tells what comes. */
interface Carrier {
  send(bytes: Uint8Array, segment: number): boolean;
}

function open(
  task: Extract<Task, { role: "send" | "receive" }>,
  received: (length: number) => void,
): Carrier {
  const { server, url, ca, role } = task;
  const [own, other] = role === "send" ? [member(0), member(1)] : [member(1), member(0)];
  if (server === "hub") {
    const link = new RelayLink({
      url,
      identity: own,
      tls: tlsOptions(ca),
      random: systemRandom,
      clock,
      events: { received: (_peer, train) => received(train.bytes.length), changed: () => {} },
    });
    return { send: (bytes, segment) => link.send(other.peerId, { bytes, segment }) };
  }
  const options = {
    ...tlsOptions(ca),
    perMessageDeflate: false,
    generateMask: (mask: Uint8Array) => mask.fill(0),
  };
  const socket = new WebSocket(url, options as object);
  socket.on("message", (data: Uint8Array) => received(data.length));
  const send = (bytes: Uint8Array) => {
    if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > 1 << 20) return false;
    socket.send(bytes.slice());
    return true;
  };
  return { send };
}

async function send(task: Extract<Task, { role: "send" | "receive" }>): Promise<void> {
  const carrier = open(task, () => {});
  const bytes = systemRandom.bytes(task.segment * task.count);
  for (;;) {
    while (carrier.send(bytes, task.segment));
    await pause(0);
  }
}

/** Tells once per second how many bytes have come. */
function receive(task: Extract<Task, { role: "send" | "receive" }>): void {
  let bytes = 0;
  open(task, (length) => bytes += length);
  setInterval(() => tell({ bytes, at: performance.now() }), 500);
}

async function idle({ url, ca, members }: Extract<Task, { role: "idle" }>): Promise<void> {
  const tls = tlsOptions(ca);
  for (let first = 0; first < members; first += AT_ONCE) {
    const numbers = Array.from({ length: Math.min(AT_ONCE, members - first) }, (_, i) => first + i);
    await Promise.all(numbers.map((number) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const events = { received: () => {}, changed: () => resolve() };
      new RelayLink({ url, identity: member(number), tls, random: systemRandom, clock, events });
      return promise;
    }));
    tell({ up: first + numbers.length });
  }
}

/** A child process that tells things. */
class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(task: Task) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-lock", import.meta.filename!, "--task", JSON.stringify(task)],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    this.#lines = linesOf(this.#process.stdout);
  }

  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("A process of the benchmark ended early");
    return JSON.parse(value);
  }

  /** Resident bytes and processor time so far. */
  usage(): { readonly residentBytes: number; readonly cpuMs: number } {
    const { pid } = this.#process;
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return {
      residentBytes: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024,
      cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#lines.return?.();
    await this.#process.status;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as never)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

interface Goodput {
  readonly mbit: number;
  /** Processor time of the coordinator per time that passed. */
  readonly cpuPercent: number;
}

async function measure(
  server: ServerName,
  train: { readonly segment: number; readonly count: number },
  durationMs: number,
): Promise<Goodput> {
  await using coordinator = new Child({ role: "serve", server, members: 2 });
  const where = await coordinator.next<{ url: string; ca: string }>();
  await using receiver = new Child({ role: "receive", server, ...where, ...train });
  await using _sender = new Child({ role: "send", server, ...where, ...train });
  type Count = { readonly bytes: number; readonly at: number };
  const count = () => receiver.next<Count>();
  let first = await count();
  while (first.bytes === 0) first = await count();
  for (const start = first.at; first.at < start + WARM_UP_MS;) first = await count();
  const before = coordinator.usage();
  let last = first;
  while (last.at < first.at + durationMs) last = await count();
  const elapsedMs = last.at - first.at;
  return {
    mbit: (last.bytes - first.bytes) * 8 / 1e3 / elapsedMs,
    cpuPercent: (coordinator.usage().cpuMs - before.cpuMs) / elapsedMs * 100,
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

async function benchGoodput(seconds: number, rounds: number, isJson: boolean): Promise<number> {
  const rows = [];
  for (const train of TRAINS) {
    const samples: Record<ServerName, Goodput[]> = { hub: [], plain: [] };
    for (let round = 0; round < rounds; round++) {
      for (const server of SERVERS) {
        samples[server].push(await measure(server, train, seconds * 1_000));
      }
    }
    const mbit = (server: ServerName) => median(samples[server].map((sample) => sample.mbit));
    rows.push({
      train: `${train.count} x ${train.segment}`,
      relayMbit: Math.round(mbit("hub")),
      plainMbit: Math.round(mbit("plain")),
      ratio: Math.round(mbit("hub") / mbit("plain") * 100) / 100,
      coordinatorCpuPercent: Math.round(median(samples.hub.map((one) => one.cpuPercent))),
    });
  }
  if (isJson) console.log(JSON.stringify({ goodput: rows }));
  else {
    console.table(rows);
    console.log(`Bar: ${LEAST_MBIT} Mbit/s in trains; plain: the same ws and TLS without the hub`);
  }
  return rows[0]!.relayMbit >= LEAST_MBIT ? 0 : 1;
}

async function benchIdle(members: number, isJson: boolean): Promise<number> {
  await using coordinator = new Child({ role: "serve", server: "hub", members });
  const where = await coordinator.next<{ url: string; ca: string }>();
  const before = coordinator.usage();
  await using clients = new Child({ role: "idle", ...where, members });
  for (let up = 0; up < members;) {
    up = (await clients.next<{ up: number }>()).up;
    if (up % 1_000 === 0) console.error(`${up} connections`);
  }
  const start = { at: performance.now(), ...coordinator.usage() };
  await pause(SETTLE_MS);
  const after = coordinator.usage();
  const perConnection = (after.residentBytes - before.residentBytes) / members;
  const extrapolated = before.residentBytes + perConnection * IDLE_CONNECTIONS;
  const elapsedMs = performance.now() - start.at;
  const row = {
    connections: members,
    emptyMb: Math.round(before.residentBytes / 1e6),
    residentMb: Math.round(after.residentBytes / 1e6),
    perConnectionKb: Math.round(perConnection / 100) / 10,
    extrapolatedMb: Math.round(extrapolated / 1e6),
    cpuPercent: Math.round((after.cpuMs - start.cpuMs) / elapsedMs * 1_000) / 10,
  };
  if (isJson) console.log(JSON.stringify({ idle: row }));
  else {
    console.table([row]);
    console.log(`extrapolatedMb: for ${IDLE_CONNECTIONS}; bar: ${MOST_IDLE_BYTES / 1e6} MB`);
  }
  return extrapolated <= MOST_IDLE_BYTES ? 0 : 1;
}

async function runTask(task: Task): Promise<void> {
  switch (task.role) {
    case "serve":
      return await serve(task);
    case "send":
      return await send(task);
    case "receive":
      return receive(task);
    case "idle":
      return await idle(task);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      json: { type: "boolean", default: false },
      seconds: { type: "string", default: "5" },
      rounds: { type: "string", default: "3" },
      idle: { type: "string" },
      task: { type: "string" },
    },
  });
  if (values.task !== undefined) await runTask(JSON.parse(values.task));
  else if (values.idle !== undefined) Deno.exit(await benchIdle(Number(values.idle), values.json));
  else Deno.exit(await benchGoodput(Number(values.seconds), Number(values.rounds), values.json));
}
