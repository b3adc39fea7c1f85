/**
 * The pinhole's sockets: one from the machine's global address to the router's port 5351, one from
 * its link-local address for searches; HTTP comes from the global address too, since a router makes
 * pinholes only for who asks.
 * @module
 */
import { formatEndpoint, type Ip, parseEndpoint } from "../../core/ip.ts";
import type { Millis } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import { Driver } from "./driver.ts";
import type { FirewallRoute, PinholeStart, PinholeState, PinholeTransmit } from "./events.ts";
import { Pinhole } from "./pinhole.ts";

export interface PinholeKeeperOptions {
  /** UDP port of the node. */
  readonly port: number;
  readonly random: Random;
  readonly clock: () => Millis;
  /** The way to the internet over IPv6, or null; asked at each change. */
  readonly route: () => FirewallRoute | null;
  readonly onChange: () => void;
}

/** Keeps a port open in the router's IPv6 firewall; close it to have it closed. */
export class PinholeKeeper {
  readonly #options: PinholeKeeperOptions;
  readonly #machine: Pinhole;
  readonly #driver: Driver<PinholeStart, PinholeTransmit>;
  #wires: Wires | null = null;

  constructor(options: PinholeKeeperOptions) {
    this.#options = options;
    this.#machine = new Pinhole(options);
    this.#driver = new Driver({
      ...options,
      machine: this.#machine,
      transmit: (effect) => this.#wires?.transmit(effect) ?? Promise.resolve(),
      client: () => this.#wires?.client ?? null,
    });
  }

  get report(): PinholeState {
    return this.#machine.report;
  }

  /** The machine may be behind another router, or have another address. */
  networkChanged(): void {
    const route = this.#options.route();
    if (route === null || !this.#wires?.leadTo(route)) {
      this.#wires?.close();
      this.#wires = route && this.#open(route);
    }
    const { port } = this.#options;
    this.#driver.handle({ type: "start", route: this.#wires && route, port });
  }

  async close(): Promise<void> {
    await this.#driver.close(() => this.#wires?.close());
    await this.#wires?.receiving;
  }

  /** Null when the address went away meanwhile; the change that it is brings the next attempt. */
  #open(route: FirewallRoute): Wires | null {
    try {
      return new Wires(route, (from, bytes) => {
        this.#driver.handle({ type: "datagram", from, bytes });
      });
    } catch {
      return null;
    }
  }
}

/** Sockets for one network. */
class Wires {
  readonly client: Deno.HttpClient;
  /** Until {@link close}. */
  readonly receiving: Promise<unknown>;
  readonly #route: FirewallRoute;
  readonly #sockets: Record<PinholeTransmit["from"], Deno.DatagramConn>;

  constructor(route: FirewallRoute, onDatagram: (from: string, bytes: Uint8Array) => void) {
    this.#route = route;
    const { localIp } = route;
    const global = Deno.listenDatagram({ transport: "udp", hostname: localIp, port: 0 });
    // The kernel takes the link-local address for what goes to such or to all on the link.
    const linkLocal = Deno.listenDatagram({ transport: "udp", hostname: "::", port: 0 });
    this.#sockets = { global, "link-local": linkLocal };
    this.client = Deno.createHttpClient({ localAddress: localIp, poolMaxIdlePerHost: 0 });
    this.receiving = Promise.all(
      [global, linkLocal].map((socket) => receiveAll(socket, onDatagram)),
    );
  }

  leadTo({ gateway, interfaceName, localIp }: FirewallRoute): boolean {
    return gateway === this.#route.gateway && interfaceName === this.#route.interfaceName &&
      localIp === this.#route.localIp;
  }

  transmit({ from, to, bytes }: PinholeTransmit): Promise<number> {
    const { ip, port } = parseEndpoint(to)!;
    const hostname = isOfLink(ip) ? `${ip}%${this.#route.interfaceName}` : ip;
    return this.#sockets[from].send(new Uint8Array(bytes), { transport: "udp", hostname, port });
  }

  close(): void {
    for (const socket of Object.values(this.#sockets)) socket.close();
    this.client.close();
  }
}

/** Ends when the socket is closed. */
async function receiveAll(
  socket: Deno.DatagramConn,
  onDatagram: (from: string, bytes: Uint8Array) => void,
): Promise<void> {
  try {
    for await (const [bytes, from] of socket) {
      const { hostname, port } = from as Deno.NetAddr;
      onDatagram(formatEndpoint(hostname, port), bytes);
    }
  } catch {
    // An error of the network: requests go unanswered until the next change of networks.
  }
}

/** Link-local addresses, unicast and multicast, mean something on one interface only. */
function isOfLink(ip: Ip): boolean {
  return /^(fe[89ab]|ff02)/.test(ip);
}
