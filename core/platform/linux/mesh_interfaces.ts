/**
 * Which meshes does this machine belong to right now? Each running context marks its interface with
 * an alias (ip-link(8)), which the kernel removes with the interface however its daemon ends, so
 * there is no list that could be out of date.
 * @module
 */
import { canonicalIp, type Ip, maskBytes, parseIp, type Prefix } from "../../ip.ts";
import { readProcFile } from "./trim.ts";

/** The mesh interface of a running context. */
export interface MeshInterface {
  readonly context: string;
  /** Of the interface. */
  readonly name: string;
  readonly addresses: readonly Ip[];
  /** What its routes lead to: the mesh's ranges. */
  readonly prefixes: readonly Prefix[];
}

/** An address as the system lists it. */
interface ListedAddress {
  readonly name: string;
  readonly address: string;
  readonly cidr: string;
}

const ALIAS = "TunnelMesh context ";

/** The alias of a context's interface. */
export function aliasOf(context: string): string {
  return ALIAS + context;
}

/** The context that an interface's alias names; null when it is no mesh's. */
export function contextOf(alias: string): string | null {
  return alias.startsWith(ALIAS) ? alias.slice(ALIAS.length).trim() : null;
}

/** The mesh interfaces of this machine that have addresses. */
export function meshInterfaces(
  listed: readonly ListedAddress[] = Deno.networkInterfaces(),
  readAlias: (name: string) => string = interfaceAlias,
): MeshInterface[] {
  const found: MeshInterface[] = [];
  for (const name of new Set(listed.map((each) => each.name))) {
    const context = contextOf(readAlias(name));
    if (context === null) continue;
    const own = listed.filter((each) => each.name === name).flatMap(({ address, cidr }) => {
      const ip = canonicalIp(address.split("%")[0]!);
      const bits = Number(cidr.split("/")[1]);
      // The kernel gives the interface a link-local address too.
      return ip === null || ip.startsWith("fe80:") || !Number.isInteger(bits) ? [] : [{ ip, bits }];
    });
    const prefixes = own.map(({ ip, bits }) => ({ bytes: maskBytes(parseIp(ip)!, bits), bits }));
    found.push({ context, name, addresses: own.map(({ ip }) => ip), prefixes });
  }
  return found;
}

/** The alias of an interface; empty when it has none, or /sys is hidden. */
export function interfaceAlias(name: string): string {
  return readProcFile(`/sys/class/net/${name}/ifalias`);
}

/** Whether there is an interface of that name, with or without addresses. */
export function hasInterface(name: string): boolean {
  return readProcFile(`/sys/class/net/${name}/ifindex`) !== "";
}
