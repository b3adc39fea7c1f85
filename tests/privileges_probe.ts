/**
 * The program with a probe in the place of every command: once the command's permissions are all
 * that is left, it tries what no command should be able to do, and prints what happened.
 *
 * Arguments: {@link ProbeTargets} as JSON, then the command line. Only tests start it; `main.ts`
 * has no way to put anything in a command's place.
 * @module
 */
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { hostname } from "node:os";
import process from "node:process";
import { run } from "../cli/mod.ts";

/** What the probe tries to reach. */
export interface ProbeTargets {
  /** Files that exist and are none of the command's business. */
  readonly secrets: readonly string[];
  /** A folder that is none of its business either, and may be written by this user. */
  readonly folder: string;
  /** A module outside of the program. */
  readonly module: string;
  /** A socket that somebody listens on, not the daemon's. */
  readonly socket: string;
}

/** What was tried, by what has to be declared for it, and what became of it. */
export type Attempted = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** What the probe prints. */
export interface ProbeReport {
  readonly attempted: Attempted;
  /** Whether the daemon answered after all that, where the command has opened its socket. */
  readonly daemon: boolean;
}

type Attempts = Readonly<Record<string, () => unknown>>;

const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;
const LIBC = { getpid: { parameters: [], result: "i32" } } as const;
/** Nobody listens there: whoever may connect is refused by the system, not by Deno. */
const PORT = 65_535;

function attemptsOf(targets: ProbeTargets): Readonly<Record<string, Attempts>> {
  const { folder } = targets;
  return {
    read: {
      ...Object.fromEntries(targets.secrets.flatMap((path): [string, () => unknown][] => [
        [`read ${path}`, () => Deno.readTextFileSync(path)],
        [`node:fs read ${path}`, () => readFileSync(path)],
        [`stat ${path}`, () => Deno.statSync(path)],
      ])),
      "list a folder": () => [...Deno.readDirSync(folder)],
      "read by ..": () => Deno.readTextFileSync(`${Deno.cwd()}/..${targets.secrets[1]}`),
      "read an open descriptor": () => Deno.readTextFileSync("/proc/self/fd/0"),
      "import a module": () => import(targets.module),
      "import a module as text": () => import(targets.module, { with: { type: "text" } }),
      "start a worker from a file": () => workerRuns(new URL(targets.module)),
    },
    write: {
      "write a file": () => Deno.writeTextFileSync(`${folder}/new`, ""),
      "node:fs write": () => writeFileSync(`${folder}/new2`, ""),
      "make a folder": () => Deno.mkdirSync(`${folder}/folder`),
      "make a temporary file": () => Deno.removeSync(Deno.makeTempFileSync()),
      "change a mode": () => Deno.chmodSync(folder, 0o777),
      "link": () => Deno.linkSync(targets.secrets[1]!, `${folder}/link`),
      "link symbolically": () => Deno.symlinkSync(targets.secrets[1]!, `${folder}/symlink`),
      "rename": () => Deno.renameSync(targets.secrets[1]!, `${folder}/renamed`),
      "remove": () => Deno.removeSync(targets.secrets[1]!),
    },
    net: netAttempts(targets),
    env: {
      "read a variable": () => Deno.env.get("TUNNELMESH_PROBE_SECRET"),
      "read all variables": () => Deno.env.toObject(),
      "set a variable": () => Deno.env.set("PATH", "/tmp"),
      "node:process": () => process.env.TUNNELMESH_PROBE_SECRET,
    },
    sys: { "host name": () => Deno.hostname(), "node:os": () => hostname() },
    run: {
      "run a program": () => new Deno.Command("/bin/true").outputSync(),
      "run itself": () => new Deno.Command(Deno.execPath(), { args: ["-V"] }).outputSync(),
      "node:child_process": () => mustRun(spawnSync("/bin/true")),
      "kill": () => Deno.kill(Deno.ppid, "SIGCONT"),
    },
    ffi: {
      "load libc": () => Deno.dlopen("libc.so.6", LIBC).close(),
      "process.dlopen": () => process.dlopen({ exports: {} }, "/lib/x86_64-linux-gnu/libc.so.6"),
      "make a pointer": () => Deno.UnsafePointer.of(new Uint8Array(1)),
    },
    import: { "import from the network": () => import(`https://127.0.0.1:${PORT}/x.ts`) },
  };
}

function netAttempts({ socket }: ProbeTargets): Attempts {
  return {
    "connect by TCP": async () => (await Deno.connect({ port: PORT })).close(),
    "connect by TLS": async () => (await Deno.connectTls({ port: PORT })).close(),
    "connect to a socket": async () =>
      (await Deno.connect({ transport: "unix", path: socket })).close(),
    "listen on TCP": () => Deno.listen({ port: 0 }).close(),
    "listen on UDP": () => Deno.listenDatagram({ transport: "udp", port: 0 }).close(),
    "serve HTTP": () => Deno.serve({ port: 0, onListen() {} }, () => new Response()).shutdown(),
    "fetch": () => fetch(`http://127.0.0.1:${PORT}/`),
    "fetch by a socket": () =>
      fetch("http://localhost/", {
        client: Deno.createHttpClient({ proxy: { transport: "unix", path: socket } }),
      }),
    "WebSocket": () => {
      const { promise, reject } = Promise.withResolvers();
      const web = new WebSocket(`ws://127.0.0.1:${PORT}`);
      web.onerror = (event) => reject(new Error((event as ErrorEvent).message));
      return promise;
    },
    "resolve a name": () => Deno.resolveDns("a.invalid", "A", { nameServer: { ipAddr: "::1" } }),
    "node:net connect": () => emitted(connect(PORT, "127.0.0.1"), "connect"),
    "node:net listen": () => emitted(createServer().listen(0), "listening"),
    "node:dgram": () => emitted(createSocket("udp4").bind(0), "listening"),
    "node:http": () => emitted(request({ host: "127.0.0.1", port: PORT }).end(), "response"),
  };
}

function emitted(emitter: NodeJS.EventEmitter, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    emitter.once("error", reject);
    emitter.once(event, () => {
      for (const name of ["close", "destroy"] as const) {
        (emitter as unknown as Record<string, undefined | (() => void)>)[name]?.();
      }
      resolve();
    });
  });
}

/** Deno's `spawnSync()` says nothing of a refusal, only that there is no status. */
function mustRun({ error, status }: { error?: Error | undefined; status: number | null }): void {
  if (error) throw error;
  if (status !== 0) throw new Error("Requires run access: nothing ran");
}

/** Whether a worker with these permissions runs. */
function workerRuns(url: URL, permissions: Deno.PermissionOptions = "inherit"): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(url, { type: "module", deno: { permissions } });
    worker.onmessage = () => {
      worker.terminate();
      resolve();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
  });
}

const onStray = { reject(_error: unknown) {} };
addEventListener("error", (event) => {
  event.preventDefault();
  onStray.reject(event.error);
});

const TELLS = new URL("data:text/javascript,postMessage(0)");

async function attempt(action: () => unknown): Promise<string> {
  try {
    // `node:dgram` throws from its own turn what it is refused.
    const stray = Promise.withResolvers<void>();
    onStray.reject = stray.reject;
    await Promise.race([action(), stray.promise]);
    return "allowed";
  } catch (error) {
    const { name, message } = error as Error;
    const isRefused = name === "NotCapable" ||
      /NotCapable|Requires \w+ access|escalate parent|ERR_ACCESS_DENIED/.test(message);
    return isRefused ? "refused" : `allowed: ${name} ${message}`;
  }
}

async function probe(targets: ProbeTargets): Promise<Attempted> {
  const report: Record<string, Record<string, string>> = {};
  // Asking for permissions comes first: whatever it won would show below.
  for (const name of KINDS) {
    const { state } = Deno.permissions.requestSync({ name });
    report[name] = {
      request: state === "granted" ? "allowed" : "refused",
      "start a worker with it": await attempt(() => workerRuns(TELLS, { [name]: true })),
    };
  }
  for (const path of targets.secrets) {
    const { state } = Deno.permissions.requestSync({ name: "read", path });
    report.read![`request ${path}`] = state === "granted" ? "allowed" : "refused";
  }
  for (const [kind, attempts] of Object.entries(attemptsOf(targets))) {
    for (const [name, action] of Object.entries(attempts)) {
      report[kind]![name] = await attempt(action);
    }
  }
  return report;
}

if (import.meta.main) {
  const [targets, ...argv] = Deno.args;
  const status = await run(argv, async ({ permissions }, context) => {
    const attempted = await probe(JSON.parse(targets!));
    const asks = permissions.opens?.includes("$control") ?? false;
    const daemon = asks && (await (await context.daemon()).status()).name !== "";
    console.log(JSON.stringify({ attempted, daemon } satisfies ProbeReport));
    return 0;
  });
  Deno.exit(status);
}
