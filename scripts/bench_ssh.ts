/**
 * How fast is the link over SSH? Sender and receiver are processes of their own on loopback.
 *
 * The peer that goodput is compared with is OpenSSH with the same cipher: `ssh host "cat >/dev/null"`
 * through a real sshd. It is left out where sshd is not installed or this is not root.
 *
 * Usage: deno task bench:ssh [--json] [--seconds 5] [--rounds 3]
 * @module
 */
import { parseArgs } from "node:util";
import { utf8 } from "../core/bytes.ts";
import { systemRandom } from "../core/daemon/system_random.ts";
import { identityFromSeed } from "../core/identity/keys.ts";
import { formatPrivateKey, formatPublicKey } from "../core/identity/openssh.ts";
import { SshLink } from "../transports/ssh/link.ts";
import { isInstalled } from "./system_packages.ts";

/** The connection is up and code is compiled by then. */
const WARM_UP_MS = 2_000;
/** What must hold for trains. */
const LEAST_MBIT = 150;
const CIPHER = "aes128-gcm@openssh.com";
/** So much that a login of some tenths of a second, which is subtracted, is small beside it. */
const OPENSSH_BYTES = 512 << 20;

/** Trains that are sent: what TCP makes, and single datagrams as acknowledgements and games are. */
const TRAINS = [{ segment: 1452, count: 45 }, { segment: 1452, count: 1 }] as const;
type Shape = typeof TRAINS[number];

const [RECEIVER, SENDER] = [1, 2].map((byte) => identityFromSeed(new Uint8Array(32).fill(byte)));
const MEMBERS = [RECEIVER!, SENDER!];

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

function openLink(
  isReceiver: boolean,
  received: (bytes: number) => void,
): Promise<SshLink> {
  return SshLink.open({
    identity: isReceiver ? RECEIVER! : SENDER!,
    listen: isReceiver ? { hostname: "127.0.0.1", port: 0 } : null,
    publicKeyOf: (peer) => MEMBERS.find(({ peerId }) => peerId === peer)?.publicKey ?? null,
    peerOf: (key) =>
      MEMBERS.find(({ publicKey }) => publicKey.every((byte, i) => byte === key[i]))?.peerId ??
        null,
    events: { received: (_peer, train) => received(train.bytes.length), changed: () => {} },
    random: systemRandom,
    clock: () => performance.now(),
  });
}

/** A child: says its port, then what came in the time measured, in Mbit/s. */
async function receive(seconds: number): Promise<void> {
  let bytes = 0;
  const link = await openLink(true, (length) => bytes += length);
  Deno.stdout.writeSync(utf8(`${link.port}\n`));
  while (bytes === 0) await pause(10);
  await pause(WARM_UP_MS);
  const [before, start] = [bytes, performance.now()];
  await pause(seconds * 1_000);
  const mbit = (bytes - before) * 8 / 1e3 / (performance.now() - start);
  Deno.stdout.writeSync(utf8(`${mbit}\n`));
  await link.close();
}

/** A child: sends as much as the link takes until it is ended. */
async function send(port: number, { segment, count }: Shape): Promise<void> {
  const link = await openLink(false, () => {});
  link.dial(RECEIVER!.peerId, [`127.0.0.1:${port}`]);
  const train = { bytes: new Uint8Array(segment * count), segment };
  for (;;) {
    while (link.send(RECEIVER!.peerId, train));
    await pause(0);
  }
}

function child(...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--quiet", import.meta.filename!, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** One transfer over a link: Mbit/s. */
async function measureLink(shape: number, seconds: number): Promise<number> {
  const receiver = child("receive", `${seconds}`);
  const lines = receiver.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const port = (await lines.read()).value!.trim();
  const sender = child("send", port, `${shape}`);
  const mbit = Number((await lines.read()).value);
  sender.kill();
  await Promise.all([sender.status, sender.stdout.cancel(), receiver.status]);
  return mbit;
}

/** An sshd of its own, with a client that it lets in. */
class OpenSsh {
  readonly #dir: string;
  readonly #port: number;
  readonly #server: Deno.ChildProcess;

  private constructor(dir: string, port: number, server: Deno.ChildProcess) {
    this.#dir = dir;
    this.#port = port;
    this.#server = server;
  }

  /** Null where it cannot run. */
  static async start(): Promise<OpenSsh | null> {
    if (!["ssh", "sshd"].every(isInstalled) || Deno.uid() !== 0) return null;
    const dir = await Deno.makeTempDir();
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    await Deno.mkdir("/run/sshd", { recursive: true });
    const secret = { mode: 0o600 };
    for (const [name, { seed }] of [["host", RECEIVER!], ["user", SENDER!]] as const) {
      await Deno.writeTextFile(`${dir}/${name}`, formatPrivateKey(seed, "", 0), secret);
    }
    await Deno.writeTextFile(`${dir}/allowed`, formatPublicKey(SENDER!.publicKey) + "\n", secret);
    const settings = {
      HostKey: `${dir}/host`,
      AuthorizedKeysFile: `${dir}/allowed`,
      ListenAddress: `127.0.0.1:${port}`,
      PidFile: "none",
      StrictModes: "no",
      UsePAM: "no",
      PermitRootLogin: "yes",
    };
    const text = Object.entries(settings).map(([key, value]) => `${key} ${value}\n`).join("");
    await Deno.writeTextFile(`${dir}/config`, text);
    // It starts itself anew for each client, so it wants to know where it is.
    const { stdout } = await new Deno.Command("sh", { args: ["-c", "command -v sshd"] }).output();
    const server = new Deno.Command(new TextDecoder().decode(stdout).trim() || "/usr/sbin/sshd", {
      args: ["-D", "-e", "-f", `${dir}/config`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await pause(500);
    return new OpenSsh(dir, port, server);
  }

  /** One transfer: Mbit/s without the time that login takes. */
  async measure(): Promise<number> {
    const [login, whole] = [await this.#pipe(0), await this.#pipe(OPENSSH_BYTES)];
    return OPENSSH_BYTES * 8 / 1e3 / (whole - login);
  }

  async stop(): Promise<void> {
    this.#server.kill();
    await this.#server.status;
    await Deno.remove(this.#dir, { recursive: true });
  }

  /** Pipes zeros; returns how many milliseconds that took. */
  async #pipe(bytes: number): Promise<number> {
    const options = `-F none -i ${this.#dir}/user -p ${this.#port} -c ${CIPHER} ` +
      "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
    const start = performance.now();
    const { success } = await new Deno.Command("sh", {
      args: ["-c", `head -c ${bytes} /dev/zero | ssh ${options} root@127.0.0.1 "cat >/dev/null"`],
    }).spawn().status;
    if (!success) throw new Error("Cannot measure OpenSSH: ssh failed");
    return performance.now() - start;
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      json: { type: "boolean" },
      seconds: { type: "string", default: "5" },
      rounds: { type: "string", default: "3" },
    },
  });
  const openssh = await OpenSsh.start();
  const own: number[][] = TRAINS.map(() => []);
  const theirs: number[] = [];
  // In turns, so that what else the machine does falls on all alike.
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const i of TRAINS.keys()) own[i]!.push(await measureLink(i, Number(values.seconds)));
    if (openssh) theirs.push(await openssh.measure());
  }
  await openssh?.stop();
  const reference = openssh ? median(theirs) : null;
  const results = TRAINS.map(({ segment, count }, i) => {
    const mbit = median(own[i]!);
    return {
      train: `${count} x ${segment} B`,
      mbit: Math.round(mbit),
      openssh: reference && Math.round(reference),
      ratio: reference && Math.round(mbit / reference * 100) / 100,
    };
  });
  if (values.json) console.log(JSON.stringify({ cipher: CIPHER, results }));
  else {
    console.table(results);
    console.log(`Mbit/s, medians. Bar for trains: ${LEAST_MBIT} Mbit/s`);
    if (!openssh) console.log("OpenSSH was not measured: it needs root and openssh-server");
  }
  return results[0]!.mbit >= LEAST_MBIT ? 0 : 1;
}

if (import.meta.main) {
  const [role, ...rest] = Deno.args;
  if (role === "receive") await receive(Number(rest[0]));
  else if (role === "send") await send(Number(rest[0]), TRAINS[Number(rest[1])]!);
  else Deno.exit(await main());
}
