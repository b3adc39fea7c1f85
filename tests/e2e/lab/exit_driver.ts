/**
 * The part of a daemon that changes the kernel for exits, on a machine of the lab.
 * Usage: exit_driver.ts client|server STATE_FOLDER
 *
 * A line of JSON on standard input is a plan's settings to put in force, with prefixes as text;
 * `remove` undoes it and waits for another line before the kill switch opens. Every answer is a line
 * that begins with `done`, `opening` or `failed`; `done` says what is still in the way, or `fully`.
 * `lost` on standard error says that somebody has removed a part of it.
 * @module
 */
import { errorMessage } from "../../../core/errors.ts";
import { killSwitchName, planClient } from "../../../core/exit/client_plan.ts";
import { planServer } from "../../../core/exit/server_plan.ts";
import { parsePrefix } from "../../../core/ip.ts";
import { ExitClient } from "../../../core/platform/linux/exit_client.ts";
import { watchExit } from "../../../core/platform/linux/exit_watch.ts";
import { Readiness } from "../../../core/platform/linux/readiness.ts";
import { ExitServer, findObstacles } from "../../../core/platform/linux/exit_server.ts";

const [role, folder] = Deno.args as ["client" | "server", string];

/** Prefixes are strings in JSON, keys tell which. */
function revive(key: string, value: unknown): unknown {
  if (key === "lan" || key === "mapped") return value === null ? null : parsePrefix(`${value}`);
  const isList = ["lanPrefixes", "meshPrefixes", "prefixes"].includes(key);
  return isList ? (value as string[]).map((text) => parsePrefix(text)) : value;
}

const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();

async function nextLine(): Promise<string> {
  return (await lines.next()).value?.trim() ?? "";
}

async function beforeOpening(): Promise<void> {
  console.log("opening");
  await nextLine();
}

const readiness = new Readiness();
if (role === "client") {
  const watched = { filter: killSwitchName("default"), priority: 4200 };
  watchExit(readiness, watched, () => console.error("lost"));
}
using system = role === "client" ? await ExitClient.open(folder) : await ExitServer.open(folder);
console.log(`ready ${await system.isApplied()}`);
for (let line = await nextLine(); line !== ""; line = await nextLine()) {
  try {
    let problem: string | null = null;
    if (line === "remove") await system.remove(beforeOpening);
    else if (system instanceof ExitClient) {
      ({ problem } = await system.apply(planClient(JSON.parse(line, revive))));
    } else {
      const plan = planServer(JSON.parse(line, revive));
      await system.apply(plan);
      const obstacles = await findObstacles(plan);
      if (obstacles.length > 0) problem = JSON.stringify(obstacles);
    }
    console.log(`done ${problem ?? "fully"}`);
  } catch (error) {
    console.log(`failed ${errorMessage(error)}`);
  }
}
await readiness.shutdown();
