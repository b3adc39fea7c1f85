/**
 * Which watch over the network does this operating system take?
 * @module
 */
import type { Readiness } from "./linux/readiness.ts";
import { watchNetlink } from "./linux/netlink.ts";
import { watchRouteSocket } from "./macos/route_watch.ts";
import type { NetworkWatch, NetworkWatchOptions } from "./types_network.ts";
import { watchIpHelper } from "./windows/network_watch.ts";

/**
 * Tells of changes of this machine's network from here on, by the system's own means.
 *
 * @param readiness Waits for descriptors on Linux; the others wait by themselves.
 * @throws {MeshError} `unsupported`, `privilege-missing`, `system`.
 */
export function watchNetwork(
  readiness: Readiness,
  options: NetworkWatchOptions,
  os: typeof Deno.build.os = Deno.build.os,
): NetworkWatch {
  switch (os) {
    case "darwin":
      return watchRouteSocket(options);
    case "windows":
      return watchIpHelper(options);
    default:
      return watchNetlink(readiness, options);
  }
}
