/**
 * Shows the main job in a minute: three machines, each a Linux network namespace on one bridge; one
 * becomes the coordinator, two join with one command each and reach each other by name; then the
 * coordinator is killed, and traffic and names go on. Runs the product's own code and cleans up.
 *
 * Usage: deno task demo [--json]   (as root)
 * @module
 */
import { parseArgs, styleText } from "node:util";
import { removeOwn } from "../tests/e2e/lab/netns.ts";
import { Node, prefetch } from "../tests/e2e/lab/node.ts";
import { waitFor } from "../tests/e2e/lab/process.ts";
import { Lan } from "../tests/e2e/lab/topology.ts";
import { download, ping, serveBulk, waitForPing } from "../tests/e2e/lab/traffic.ts";
import { missingPackages, whySkip } from "../tests/skip.ts";
import { installPackages, mayInstall } from "./system_packages.ts";

const DOWNLOAD_BYTES = 256 << 20;

/** The line of `--json`; times in milliseconds, the rate in 10^6 bit/s. */
interface DemoReport {
  totalMs: number;
  /** From starting `join` on the second node to its first answered ping of the first, by name. */
  joinToFirstPingMs: number;
  downloadMbps: number;
  /** Whether both nodes still reached each other by name with the coordinator killed. */
  pingAfterCoordinatorKill: boolean;
  steps: { name: string; ms: number }[];
}

/** Prints what happens, unless one line of JSON is all that is wanted. */
class Stage {
  readonly steps: { name: string; ms: number }[] = [];
  readonly #isSilent: boolean;

  constructor(isSilent: boolean) {
    this.#isSilent = isSilent;
  }

  say(text: string): void {
    if (!this.#isSilent) console.log(text);
  }

  /** Text that a command has printed, indented. */
  quote(command: string, output: string): void {
    this.say(styleText("dim", `    $ ${command}`));
    this.say(output.trimEnd().replace(/^/gm, "    "));
  }

  /** Runs one step and tells how long it took. */
  async step<T>(name: string, run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    this.say(styleText("bold", `> ${name}`));
    const result = await run();
    const ms = Math.round(performance.now() - start);
    this.steps.push({ name, ms });
    this.say(`  ${styleText("green", "done")} in ${(ms / 1_000).toFixed(2)} s\n`);
    return result;
  }
}

async function demo(stage: Stage): Promise<DemoReport> {
  const start = performance.now();
  await stage.step("fetch dependencies", prefetch);
  const lan = await stage.step("make three machines on one network", () => {
    return Lan.create(["c", "a", "b"]);
  });
  try {
    const result = await play(lan, stage);
    await stage.step("clean up", removeOwn);
    const totalMs = Math.round(performance.now() - start);
    return { totalMs, ...result, steps: stage.steps };
  } finally {
    await lan[Symbol.asyncDispose]();
  }
}

async function play(lan: Lan, stage: Stage): Promise<Omit<DemoReport, "totalMs" | "steps">> {
  await using coordinator = await stage.step("c: tunnelmesh up", async () => {
    const node = await Node.up(lan.host("c"));
    const { url, token } = node.invitation!;
    stage.say(`    sudo tunnelmesh join ${url} --token ${token}`);
    return node;
  });
  await using a = await stage.step("a: tunnelmesh join", () => {
    return Node.join(lan.host("a"), coordinator.invitation!);
  });
  const joinStart = performance.now();
  const { b, joinToFirstPingMs } = await stage.step(
    "b: tunnelmesh join, to first ping",
    async () => {
      const joining = Node.join(lan.host("b"), coordinator.invitation!);
      const firstPing = waitForPing(lan.host("b").namespace, "a.mesh", { timeoutMs: 30_000 })
        .then(() => Math.round(performance.now() - joinStart));
      const [b, joinToFirstPingMs] = await Promise.all([joining, firstPing]);
      return { b, joinToFirstPingMs };
    },
  );
  await using _b = b;
  stage.say(`  join to first ping by name: ${(joinToFirstPingMs / 1_000).toFixed(2)} s\n`);
  await stage.step("wait until a and b are direct", async () => {
    await Promise.all([a.waitUntilDirect(["b"]), b.waitUntilDirect(["a"])]);
  });
  await stage.step("ping by name", async () => {
    for (const name of ["a.mesh", "a.tunnelmesh", "a.tm", "this.tm"]) {
      await showPing(b, name, stage);
    }
  });
  const downloadMbps = await stage.step(
    "download through the tunnel",
    () => showDownload(a, b, stage),
  );
  await stage.step("status of both", async () => {
    for (const node of [a, b]) {
      stage.quote(`${node.name}: tunnelmesh status`, (await node.cli("status")).stdout);
    }
  });
  await stage.step("kill the coordinator (SIGKILL)", async () => {
    await coordinator.killHard();
    await waitFor("the nodes to notice", async () => {
      const reports = await Promise.all([a.mustStatus(), b.mustStatus()]);
      return reports.every((report) => report.coordinator.state !== "connected");
    });
  });
  await stage.step("traffic and names go on", async () => {
    await showPing(b, "a.mesh", stage);
    await showPing(a, "b.tunnelmesh", stage);
    await showDownload(a, b, stage, 32 << 20);
  });
  return { joinToFirstPingMs, downloadMbps, pingAfterCoordinatorKill: true };
}

/** @throws when a reply is missing. */
async function showPing(from: Node, name: string, stage: Stage): Promise<void> {
  const result = await ping(from.machine, name, { count: 3 });
  stage.quote(`${from.name}: ping ${name}`, result.output);
  if (result.sent === 0 || result.received !== result.sent) {
    throw new Error(`Cannot ping ${name} from ${from.name}: ${result.output}`);
  }
}

/** Downloads from `a` by name; returns the rate in Mbit/s. */
async function showDownload(
  a: Node,
  b: Node,
  stage: Stage,
  bytes = DOWNLOAD_BYTES,
): Promise<number> {
  await using _server = await serveBulk(a.machine);
  const got = await download(b.machine, "a.mesh", bytes);
  const rate = Math.round(got.bytes * 8 / got.ms / 1_000);
  stage.say(
    `    http://a.mesh:8080: ${bytes >> 20} MiB in ${Math.round(got.ms)} ms, ${rate} Mbit/s`,
  );
  return rate;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ args: Deno.args, options: { json: { type: "boolean" } } });
  if (mayInstall() && missingPackages().length > 0) {
    console.error(`Installing what the demo needs: ${missingPackages().join(" ")}`);
    await installPackages(missingPackages());
  }
  const missing = whySkip();
  if (missing !== null) {
    console.error(`Cannot run the demo: ${missing}`);
    if (missing === "needs root") {
      console.error("It makes network namespaces and tunnel interfaces, and removes them again.");
      console.error(`Try: sudo ${Deno.execPath()} task demo`);
    }
    return 1;
  }
  let ending: Promise<void> | null = null;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => ending ??= removeOwn().finally(() => Deno.exit(130)));
  }
  const stage = new Stage(values.json ?? false);
  try {
    const report = await demo(stage);
    stage.say(styleText("bold", "Where the time went"));
    for (const { name, ms } of report.steps) stage.say(`  ${`${ms}`.padStart(6)} ms  ${name}`);
    stage.say(`  ${`${report.totalMs}`.padStart(6)} ms  in all`);
    if (values.json) console.log(JSON.stringify(report));
    return 0;
  } catch (error) {
    // What fails because a signal took the machines away needs no explanation.
    if (ending !== null) await ending;
    console.error(error);
    await removeOwn();
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main());
