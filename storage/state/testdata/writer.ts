/**
 * Appends growing numbers to a state log and prints each once it is acknowledged; killed by a test.
 * @module
 */
import { StateLog } from "../state_log.ts";

const log = await StateLog.open(Deno.args[0]!);
const { snapshot, commands } = log.load();
const encoder = new TextEncoder();
for (let number = Number(commands.at(-1) ?? snapshot ?? 0) + 1;; number++) {
  log.append(String(number));
  Deno.stdout.writeSync(encoder.encode(`${number}\n`));
  if (number % 100 === 0) log.saveSnapshot(String(number));
}
