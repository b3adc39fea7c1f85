/**
 * Prints what `watchNetlink()` tells on a machine of the lab, one change per line. On SIGUSR1 it
 * stands still until a line comes on standard input.
 * Usage: network_watch.ts IGNORED_INTERFACE
 * @module
 */
import { watchNetlink } from "../../../core/platform/linux/netlink.ts";
import { Readiness } from "../../../core/platform/linux/readiness.ts";

const readiness = new Readiness();
watchNetlink(readiness, {
  ignoreInterface: Deno.args[0]!,
  onChange: (changes) => {
    for (const change of changes) {
      console.log([change.kind, change.action, change.interface, change.detail].join(" "));
    }
  },
});
Deno.addSignalListener("SIGUSR1", () => {
  console.log("stalled");
  Deno.stdin.readSync(new Uint8Array(16));
});
console.log("ready");
