/**
 * Whom does this machine reach past its exit, because the mesh itself depends on it? Coordinators
 * and their relays, SSH links, the proxy to them: what has no socket that could be marked.
 * @module
 */
import { lookup } from "node:dns/promises";
import { z } from "zod";
import { usableEndpoints } from "../control/candidates.ts";
import type { MeshFacts, MeshPeer } from "../control/netmap.ts";
import type { DirectEndpoint } from "../exit/client_plan.ts";
import { canonicalIp, type Ip, parseEndpoint } from "../ip.ts";
import { isLoopback } from "../control/candidates.ts";
import type { StateDir } from "./state_dir.ts";

const FILE = "exit_addresses.json";
/** Each is a policy rule that the kernel compares packets with. */
const MAX_ENDPOINTS = 256;
const MAX_ADDRESSES = 16;

const Kept = z.record(z.string().max(255), z.array(z.string().max(64)).max(MAX_ADDRESSES));

/** Servers that this node connects to, by host and port. */
interface Server {
  readonly host: string;
  readonly port: number;
}

/** `https://host:port` and `http://host:port` as servers. */
export function serversOf(urls: readonly string[]): Server[] {
  return urls.map((text) => {
    const url = new URL(text);
    const port = url.port === "" ? (url.protocol === "http:" ? 80 : 443) : Number(url.port);
    return { host: url.hostname.replace(/^\[|\]$/g, ""), port };
  });
}

/** Addresses of servers by name, kept for a start at which no name can be looked up. */
export class ServerAddresses {
  readonly #state: StateDir;
  readonly #known: Map<string, readonly Ip[]>;

  private constructor(state: StateDir, known: Map<string, readonly Ip[]>) {
    this.#state = state;
    this.#known = known;
  }

  static async open(state: StateDir): Promise<ServerAddresses> {
    return new ServerAddresses(
      state,
      new Map(Object.entries(await state.readJson(FILE, Kept) ?? {})),
    );
  }

  of(host: string): readonly Ip[] {
    const literal = canonicalIp(host);
    return literal === null ? this.#known.get(host) ?? [] : [literal];
  }

  /** Looks names up anew; what cannot be found keeps its addresses. True when some changed. */
  async refresh(servers: readonly Server[]): Promise<boolean> {
    let isChanged = false;
    for (const { host } of servers) {
      if (canonicalIp(host) !== null) continue;
      const found = await lookup(host, { all: true }).catch(() => []);
      const ips = found.flatMap(({ address }) => canonicalIp(address) ?? []).sort()
        .slice(0, MAX_ADDRESSES);
      if (ips.length === 0 || ips.join() === this.#known.get(host)?.join()) continue;
      this.#known.set(host, ips);
      isChanged = true;
    }
    if (isChanged) await this.#state.writeJson(FILE, Object.fromEntries(this.#known));
    return isChanged;
  }
}

/** What {@link directEndpoints} is made of. */
export interface DirectSources {
  readonly servers: readonly Server[];
  readonly addressesOf: (host: string) => readonly Ip[];
  /** Who is at the other end of the control channel, or null. */
  readonly remote: Ip | null;
  /** Peers, those that matter most first. */
  readonly peers: readonly Pick<MeshPeer, "endpoints" | "links">[];
  readonly facts: Pick<MeshFacts, "cidr4" | "prefix6">;
}

/** The endpoints, each once, in an order that does not change with that of peers. */
export function directEndpoints(sources: DirectSources): DirectEndpoint[] {
  const { servers, addressesOf, remote, peers, facts } = sources;
  const ofServers = servers.flatMap(({ host, port }) => {
    const ips = [...addressesOf(host), ...remote === null ? [] : [remote]];
    return ips.filter((ip) => !isLoopback(ip)).map((ip) => tcp(ip, port));
  });
  const ofPeers = peers.filter(({ links }) => links.sshPort > 0).flatMap(({ endpoints, links }) => {
    const ips = usableEndpoints(endpoints, facts).map((text) => parseEndpoint(text)!.ip);
    return ips.map((ip) => tcp(ip, links.sshPort));
  });
  const all = new Map([...ofServers, ...ofPeers].map((each) => [JSON.stringify(each), each]));
  const chosen = [...all].slice(0, MAX_ENDPOINTS);
  return chosen.sort(([a], [b]) => a < b ? -1 : 1).map(([, endpoint]) => endpoint);
}

function tcp(ip: Ip, port: number): DirectEndpoint {
  return { ip, protocol: "tcp", port };
}
