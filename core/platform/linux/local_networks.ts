/**
 * Which networks does this machine stand in: its LAN, and bridges to its own containers?
 * @module
 */
import { maskBytes, parseIp, type Prefix } from "../../ip.ts";
import { outputOf } from "./dns_program.ts";

/** The networks of one machine. */
export interface LocalNetworks {
  /** Of all interfaces but the meshes', loopback, and those below. */
  readonly lan: readonly Prefix[];
  /** Behind bridges that only virtual machines and containers are on: no packet leaves there. */
  readonly containers: readonly Prefix[];
  /** This machine's own addresses in all of them. */
  readonly addresses: readonly Prefix[];
}

/** An address as the system lists it. */
interface ListedAddress {
  readonly name: string;
  readonly address: string;
  readonly cidr: string;
}

/** An interface as `ip -details -json link show` prints it. */
interface ListedLink {
  readonly ifname: string;
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
}

/** Kinds of interface that lead to guests of this machine. */
const GUEST_KINDS = ["veth", "tun", "ipvlan", "macvlan"];

/** @param meshInterfaces Names of interfaces that belong to meshes. */
export async function localNetworks(meshInterfaces: readonly string[]): Promise<LocalNetworks> {
  const links = await outputOf("ip", ["-json", "-details", "link", "show"]);
  const bridges = guestBridges(JSON.parse(links || "[]"));
  return networksOf(Deno.networkInterfaces(), meshInterfaces, bridges);
}

/** The bridges whose ports all lead to guests. */
export function guestBridges(links: readonly ListedLink[]): string[] {
  const kindOf = (link: ListedLink) => link.linkinfo?.info_kind ?? "";
  return links.filter((link) => kindOf(link) === "bridge").map(({ ifname }) => ifname)
    .filter((bridge) =>
      links.every((link) => link.master !== bridge || GUEST_KINDS.includes(kindOf(link)))
    );
}

/** The networks that addresses tell of. */
export function networksOf(
  addresses: readonly ListedAddress[],
  meshInterfaces: readonly string[],
  bridges: readonly string[],
): LocalNetworks {
  const isOther = (name: string) => name === "lo" || meshInterfaces.includes(name);
  const own = addresses.filter(({ name }) => !isOther(name)).flatMap(({ name, address, cidr }) => {
    const bytes = parseIp(address.split("%")[0]!);
    const bits = Number(cidr.split("/")[1]);
    if (bytes === null || !Number.isInteger(bits) || isLinkLocal(bytes)) return [];
    const network = { bytes: maskBytes(bytes, bits), bits };
    return [{
      isGuests: bridges.includes(name),
      network,
      address: { bytes, bits: bytes.length * 8 },
    }];
  });
  return {
    lan: own.filter(({ isGuests }) => !isGuests).map(({ network }) => network),
    containers: own.filter(({ isGuests }) => isGuests).map(({ network }) => network),
    addresses: own.map(({ address }) => address),
  };
}

function isLinkLocal(bytes: Uint8Array): boolean {
  return bytes.length === 16 && bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}
