/**
 * Addresses and state of the mesh interface, by the `ip` tool (iproute2).
 *
 * Addresses carry the mesh's prefix, so the kernel makes the routes and removes both with the
 * interface; nothing has to be undone.
 * @module
 */
import { errorMessage, MeshError } from "../../errors.ts";
import { parsePrefix, type Prefix } from "../../ip.ts";

/** What the interface shall look like. */
export interface InterfaceSettings {
  readonly name: string;
  /** Says whose it is, for users and other daemons. */
  readonly alias: string;
  readonly mtu: number;
  /** Addresses with the length of the mesh prefix, e.g. `172.30.0.5/16`. */
  readonly addresses: readonly string[];
  /** Further prefixes that lead into the interface, those of plain WireGuard peers. */
  readonly routes: readonly string[];
}

/** Room for one burst of TCP; the kernel's default for a TUN is 500 packets. */
const QUEUE_LENGTH = 1000;
/** So large a super-packet, sealed in pieces, still goes into one UDP message (65,507 bytes). */
const SUPER_PACKET_BYTES = 58_000;

/**
 * Sets MTU and addresses and brings the interface up.
 *
 * @throws {MeshError} `system` with what `ip` said.
 */
export async function configureInterface(settings: InterfaceSettings): Promise<void> {
  const { name, alias, mtu, addresses, routes } = settings;
  // First, so that other daemons know it before anything else of it changes.
  await ip(["link", "set", "dev", name, "alias", alias]);
  await ip(["link", "set", "dev", name, "mtu", `${mtu}`, "txqueuelen", `${QUEUE_LENGTH}`, "up"]);
  // An older ip does not know the setting; then a super-packet may take two messages.
  await ip(["link", "set", "dev", name, "gso_max_size", `${SUPER_PACKET_BYTES}`]).catch(() => {});
  for (const address of addresses) {
    const flags = address.includes(":") ? ["nodad"] : [];
    await ipOfFamily(address, ["address", "add", address, "dev", name, ...flags]);
  }
  for (const route of routes) await ipOfFamily(route, ["route", "replace", route, "dev", name]);
}

/** Prefixes that this machine already routes, other than by default; for choosing a free range. */
export async function localPrefixes(): Promise<Prefix[]> {
  const text = await ip(["-json", "route", "show", "table", "main"]);
  const routes = JSON.parse(text || "[]") as { dst: string }[];
  return routes.flatMap(({ dst }) => {
    const prefix = dst === "default" ? null : parsePrefix(dst);
    return prefix ? [prefix] : [];
  });
}

/** A kernel without IPv6 still carries the IPv4 mesh. */
async function ipOfFamily(address: string, args: string[]): Promise<void> {
  try {
    await ip(args);
  } catch (error) {
    if (!address.includes(":")) throw error;
  }
}

async function ip(args: string[]): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("ip", { args, stdin: "null" }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new MeshError("system", `Cannot run ip: ${errorMessage(error)}`, {
      hint: "Install it, for example with: apt-get install iproute2",
    });
  }
  if (output.success) return new TextDecoder().decode(output.stdout);
  const said = new TextDecoder().decode(output.stderr).trim();
  throw new MeshError("system", `Cannot run "ip ${args.join(" ")}": ${said}`);
}
