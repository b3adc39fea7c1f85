/**
 * Makes a node's exits and routes from its options, and starts them.
 * @module
 */
import { isLoopback } from "../control/candidates.ts";
import type { ExitPolicy } from "../exit/policy.ts";
import type { Ip } from "../ip.ts";
import type { Millis } from "../machine.ts";
import type { NodeEvent, NodeMachine } from "../node.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import type { DataPlane } from "./dataplane.ts";
import { ServerAddresses, serversOf } from "./exit_endpoints.ts";
import { ExitWishesFile } from "./exit_wishes.ts";
import { Exits } from "./exits.ts";
import type { DaemonOptions } from "./open_node.ts";
import type { OwnRecord } from "./own_record.ts";

/** What of a daemon exits act on. */
export interface ExitTargets {
  readonly node: NodeMachine;
  readonly plane: DataPlane;
  readonly record: OwnRecord;
  readonly readiness: Readiness;
  /** Who may lead out of the mesh, and whom. */
  readonly policy: ExitPolicy;
  /** TCP port of the SSH link, 0 for none. */
  readonly sshPort: () => number;
  readonly remote: () => Ip | null;
  readonly clock: () => Millis;
  readonly emit: (event: NodeEvent) => void;
  /** What the node leads to changed. */
  readonly offeredChanged: () => void;
}

/** Ports of coordinators on this machine. */
function ownCoordinators(urls: readonly string[]): number[] {
  return serversOf(urls).filter(({ host }) => isLoopback(host)).map(({ port }) => port);
}

/** Starts; the kill switch is closed before this resolves. */
export async function openExits(options: DaemonOptions, targets: ExitTargets): Promise<Exits> {
  const { state, membership, proxy } = options;
  const { plane, sshPort, ...rest } = targets;
  const urls = [...membership.urls, ...proxy === null ? [] : [proxy]];
  const wishes = await ExitWishesFile.open(state, options.exits);
  const addresses = await ServerAddresses.open(state);
  // While names can still be looked up past the exit; one that cannot has kept its addresses.
  if (wishes.use.exits.length > 0) await addresses.refresh(serversOf(urls));
  const exits = new Exits({
    ...rest,
    urls,
    wishes,
    addresses,
    context: options.context,
    interfaceName: plane.interfaceName,
    folder: state.path,
    udpPort: plane.udpPort,
    tcpPorts: () => [...new Set([sshPort(), ...ownCoordinators(membership.urls)])].filter(Boolean),
    setForwards: (forwards) => plane.table.setForwards(forwards),
    log: options.log,
  });
  await exits.start();
  return exits;
}
