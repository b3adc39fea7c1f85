/**
 * A peer as the data plane and the names see it, from the mesh or from the configuration.
 * @module
 */
import { assert } from "./assert.ts";
import { toBase64 } from "./bytes.ts";
import type { MeshPeer } from "./control/netmap.ts";
import type { PeerId } from "./ids.ts";
import { type Endpoint, formatIp, type Ip, parseIp, type Prefix } from "./ip.ts";
import type { Route } from "./route/lpm.ts";
import type { PeerSlot } from "./wireguard/events.ts";

/** A plain WireGuard peer from the configuration, which no coordinator knows. */
export interface StaticPeer {
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array | null;
  readonly allowedIps: readonly Prefix[];
  readonly endpoint: Endpoint | null;
  readonly persistentKeepaliveMs: number | null;
}

/** A peer that has a slot in the data plane. */
export interface NodePeer {
  readonly slot: PeerSlot;
  /** Null for a {@link StaticPeer}. */
  readonly id: PeerId | null;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly addresses: readonly Ip[];
  readonly wireguardKey: string;
  readonly allowedIps: readonly Prefix[];
}

/** The peer that a verified record describes. */
export function ofMesh(slot: PeerSlot, mesh: MeshPeer): NodePeer {
  const { name, aliases, addresses, wireguardKey } = mesh.record;
  const allowedIps = addresses.map((address) => {
    const bytes = parseIp(address);
    assert(bytes !== null, "the addresses of a verified record are canonical");
    return { bytes, bits: bytes.length * 8 };
  });
  return { slot, id: mesh.id, name, aliases, addresses, wireguardKey, allowedIps };
}

/** The peer that the configuration names. */
export function ofConfig(slot: PeerSlot, config: StaticPeer): NodePeer {
  const addresses = config.allowedIps.filter(({ bytes, bits }) => bits === bytes.length * 8);
  return {
    slot,
    id: null,
    name: config.name,
    aliases: [],
    addresses: addresses.map(({ bytes }) => formatIp(bytes)),
    wireguardKey: toBase64(config.publicKey),
    allowedIps: config.allowedIps,
  };
}

/** Whether two agree in what others see of them. */
export function isSamePeer(a: NodePeer, b: NodePeer): boolean {
  return JSON.stringify(facts(a)) === JSON.stringify(facts(b));
}

/**
 * Which addresses are whose. Networks that peers lead to come first, for of equal prefixes the last
 * one counts.
 */
export function routesOf(
  peers: readonly NodePeer[],
  ways: ReadonlyMap<PeerId, readonly Prefix[]>,
): Route[] {
  const routes = (slot: PeerSlot, prefixes: readonly Prefix[]) =>
    prefixes.map((prefix) => ({ prefix, value: slot }));
  return [
    ...peers.flatMap(({ slot, id }) => routes(slot, (id !== null && ways.get(id)) || [])),
    ...peers.flatMap(({ slot, allowedIps }) => routes(slot, allowedIps)),
  ];
}

function facts({ name, aliases, addresses, wireguardKey }: NodePeer): unknown {
  return [name, aliases, addresses, wireguardKey];
}
