/**
 * The port mapping's socket, for the router's port 5351 and for searches; beside it the pinhole.
 * @module
 */
import { formatEndpoint, type Ip, parseEndpoint } from "../../core/ip.ts";
import type { Millis } from "../../core/machine.ts";
import type { Random } from "../../core/random.ts";
import { Driver } from "./driver.ts";
import type {
  FirewallRoute,
  PinholeState,
  PortMapStart,
  PortMapState,
  PortMapTransmit,
} from "./events.ts";
import { PortMapping } from "./machine.ts";
import { PinholeKeeper } from "./pinhole_shell.ts";

export interface PortMapperOptions {
  /** UDP port of the node. */
  readonly port: number;
  readonly random: Random;
  readonly clock: () => Millis;
  /** The router and the address of this machine that leads there, or null; asked at each change. */
  readonly route: () => { readonly gateway: Ip; readonly localIp: Ip } | null;
  /** The same for IPv6. */
  readonly firewallRoute: () => FirewallRoute | null;
  readonly onChange: () => void;
}

/** Keeps a port of the router, and that port open in its IPv6 firewall; close it to give both back. */
export class PortMapper {
  readonly #options: PortMapperOptions;
  readonly #machine: PortMapping;
  readonly #driver: Driver<PortMapStart, PortMapTransmit>;
  readonly #pinhole: PinholeKeeper;
  readonly #socket: Deno.DatagramConn;
  readonly #receiving: Promise<void>;
  #isClosed = false;

  constructor(options: PortMapperOptions) {
    this.#options = options;
    this.#machine = new PortMapping(options);
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
    this.#driver = new Driver({
      ...options,
      machine: this.#machine,
      transmit: ({ to, bytes }) => {
        const { ip: hostname, port } = parseEndpoint(to)!;
        return this.#socket.send(new Uint8Array(bytes), { transport: "udp", hostname, port });
      },
    });
    this.#pinhole = new PinholeKeeper({ ...options, route: options.firewallRoute });
    this.#receiving = this.#receive();
    // Its owner does not have it yet, and must when it hears of a change.
    queueMicrotask(() => this.networkChanged());
  }

  get report(): PortMapState {
    return this.#machine.report;
  }

  get pinhole(): PinholeState {
    return this.#pinhole.report;
  }

  /** The machine may be behind another router: asks anew. */
  networkChanged(): void {
    if (this.#isClosed) return;
    const { port, route } = this.#options;
    const { gateway = null, localIp = "0.0.0.0" } = route() ?? {};
    this.#driver.handle({ type: "start", gateway, localIp, port });
    this.#pinhole.networkChanged();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.all([
      this.#driver.close(() => this.#socket.close()),
      this.#pinhole.close(),
    ]);
    await this.#receiving;
  }

  async #receive(): Promise<void> {
    for (;;) {
      try {
        const [bytes, from] = await this.#socket.receive();
        const { hostname, port } = from as Deno.NetAddr;
        this.#driver.handle({ type: "datagram", from: formatEndpoint(hostname, port), bytes });
      } catch {
        // An earlier datagram was refused; closing ends it.
        if (this.#isClosed) return;
      }
    }
  }
}
