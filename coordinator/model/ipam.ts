/**
 * Which IPv4 address does a node get? The lowest one of the pool that nobody holds.
 * @module
 */
import { MeshError } from "../../core/errors.ts";
import { formatIp, type Ip, parsePrefix } from "../../core/ip.ts";

/** An IPv4 range as its first host address, a number, and how many hosts follow. */
export interface Pool {
  readonly first: number;
  readonly size: number;
}

/**
 * The hosts of a prefix, without its network and broadcast addresses.
 * @throws {MeshError} "config-invalid" when `cidr4` is not an IPv4 prefix of /8 to /30.
 */
export function poolOf(cidr4: string): Pool {
  const prefix = parsePrefix(cidr4);
  if (prefix?.bytes.length !== 4 || prefix.bits < 8 || prefix.bits > 30) {
    throw new MeshError("config-invalid", `Cannot lease addresses from "${cidr4}"`, {
      hint: "Give an IPv4 prefix between /8 and /30 whose host bits are zero, e.g. 172.30.0.0/16",
    });
  }
  const network = new DataView(prefix.bytes.buffer, prefix.bytes.byteOffset).getUint32(0);
  return { first: network + 1, size: 2 ** (32 - prefix.bits) - 2 };
}

/**
 * Picks the lowest free address.
 * @throws {MeshError} "address-pool-exhausted" when every address is leased.
 */
export function allocate(pool: Pool, leased: ReadonlySet<Ip>): Ip {
  for (let address = pool.first; address < pool.first + pool.size; address++) {
    const ip = ipOf(address);
    if (!leased.has(ip)) return ip;
  }
  const message = `Cannot lease an address: all ${pool.size} are taken`;
  throw new MeshError("address-pool-exhausted", message, {
    hint: "Let nodes that are gone leave the mesh",
  });
}

function ipOf(address: number): Ip {
  return formatIp(
    Uint8Array.of(address >>> 24, (address >>> 16) & 0xff, (address >>> 8) & 0xff, address & 0xff),
  );
}
