/**
 * From what is wanted, allowed and known to what the kernel shall do about exits and routes.
 * @module
 */
import { type DirectEndpoint, planClient } from "../exit/client_plan.ts";
import { kernelNumbers, SOCKET_MARK } from "../exit/numbers.ts";
import { planServer } from "../exit/server_plan.ts";
import { planSubnets } from "../exit/subnet_plan.ts";
import { parsePrefix, type Prefix } from "../ip.ts";
import type { LocalNetworks } from "../platform/linux/local_networks.ts";
import type { MeshInterface } from "../platform/linux/mesh_interfaces.ts";
import type { KernelWish } from "./exit_kernel.ts";
import type { ExitWishes } from "./exit_wishes.ts";

/** Everything that decides what the kernel shall do. */
export interface PlanSources {
  readonly context: string;
  readonly interfaceName: string;
  readonly udpPorts: readonly number[];
  readonly tcpPorts: readonly number[];
  readonly wishes: ExitWishes;
  /** Whether traffic to the internet goes through an exit or nowhere. */
  readonly isHeld: boolean;
  /** Networks behind routers that are used. */
  readonly subnets: readonly Prefix[];
  readonly endpoints: readonly DirectEndpoint[];
  readonly networks: LocalNetworks;
  readonly meshRanges: readonly Prefix[];
  readonly otherMeshes: readonly MeshInterface[];
}

/** See the module's doc. */
export function kernelWish(sources: PlanSources): KernelWish {
  const { context, interfaceName, wishes: { use, offer }, networks, endpoints } = sources;
  const numbers = kernelNumbers(context);
  const offered = offer.routes.map(({ prefix, mapped }) => ({
    lan: parsePrefix(prefix)!,
    mapped: mapped === undefined ? null : parsePrefix(mapped),
    mayInitiate: false,
  }));
  const common = { context, interfaceName };
  const subnets = { ...numbers.subnets, interfaceName, mark: SOCKET_MARK, endpoints };
  const isGateway = offer.isExit || offered.length > 0;
  return {
    client: !sources.isHeld ? null : planClient({
      ...common,
      ...numbers.exit,
      mark: SOCKET_MARK,
      udpPorts: sources.udpPorts,
      tcpPorts: sources.tcpPorts,
      endpoints,
      otherMeshes: sources.otherMeshes.map(({ name, prefixes }) => ({
        interfaceName: name,
        prefixes,
      })),
      lanPrefixes: [
        ...use.lan ? networks.lan : [],
        ...networks.containers,
        // Peers reach these through this node, exit or not.
        ...offered.map(({ lan }) => lan),
      ],
      ipv4: true,
      ipv6: true,
      onLoss: use.onLoss,
    }),
    subnets: planSubnets({ ...subnets, prefixes: sources.subnets }),
    server: isGateway
      ? planServer({
        ...common,
        meshPrefixes: sources.meshRanges,
        isExit: offer.isExit,
        routes: offered,
      })
      : null,
  };
}
