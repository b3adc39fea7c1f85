/**
 * A client in a LAN, its router, the internet, and an exit node that the client reaches through a
 * tunnel of `plain_tunnel.ts`.
 *
 * ```
 * client eth0 192.168.1.2 --- lan  router  world --- 203.0.113.10   world (.20: a coordinator)
 *        tm0 172.30.0.2               exit   --- eth0 198.51.100.7   exit  tm0 172.30.0.1
 *                                                site 192.168.1.1 --- 192.168.1.9  site
 * ```
 *
 * Of IPv6 the same: 2001:db8:1::2, 2001:db8:9::10 and ::20, 2001:db8:7::7, fd00:1::2 and ::1 in the
 * mesh. The LAN behind the exit has the range of the client's own.
 * @module
 */
import { Namespace } from "./netns.ts";
import { type Process, waitFor } from "./process.ts";

export const MARK = 0x2174;
export const EXIT4 = "198.51.100.7", EXIT6 = "2001:db8:7::7";
export const WORLD4 = "203.0.113.10", WORLD6 = "2001:db8:9::10";
export const COORDINATOR4 = "203.0.113.20", COORDINATOR6 = "2001:db8:9::20";
export const CLIENT4 = "192.168.1.2", CLIENT6 = "2001:db8:1::2", LAN_ROUTER4 = "192.168.1.1";
/** The client as the world sees it. */
export const HOME4 = "203.0.113.1";
const TUNNEL_PORT = 51820;

/** Everything but the tunnel; dispose of it to remove it all. */
export class ExitWorld implements AsyncDisposable {
  readonly client: Namespace;
  readonly router: Namespace;
  readonly world: Namespace;
  readonly exit: Namespace;
  readonly #stack: AsyncDisposableStack;

  private constructor(machines: readonly Namespace[], stack: AsyncDisposableStack) {
    [this.client, this.router, this.world, this.exit] = machines as [
      Namespace,
      Namespace,
      Namespace,
      Namespace,
    ];
    this.#stack = stack;
  }

  static async create(): Promise<ExitWorld> {
    await using stack = new AsyncDisposableStack();
    const machines: Namespace[] = [];
    for (const label of ["client", "router", "world", "exit"]) {
      machines.push(stack.use(await Namespace.create(label)));
    }
    const world = new ExitWorld(machines, stack.move());
    try {
      await world.#connect();
      await world.#serve(world.world, [WORLD4, WORLD6, COORDINATOR4, COORDINATOR6]);
      await world.#serve(world.router, [LAN_ROUTER4]);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts the exit's end of the tunnel. */
  async startExit(): Promise<void> {
    const args = ["0", "172.30.0.1/16,fd00:1::1/64", "10.202.0.0/24"];
    await this.script(this.exit, "plain_tunnel", args);
  }

  /** Starts the client's end, whose datagrams are marked. */
  startTunnel(): Promise<Process> {
    const args = [`${MARK}`, "172.30.0.2/16,fd00:1::2/64", "10.201.0.0/24"];
    return this.script(this.client, "plain_tunnel", [...args, `${EXIT4}:${TUNNEL_PORT}`]);
  }

  /**
   * Adds a LAN behind the exit, or another machine, with one machine in it, which tells who asks on
   * port 9999.
   * @param gateway The router's address there.
   */
  async addSite(router: Namespace = this.exit, gateway = "192.168.1.1"): Promise<Namespace> {
    const site = this.#stack.use(await Namespace.create("site"));
    await link(router, "site", site, "eth0");
    await router.ip("address", "add", `${gateway}/24`, "dev", "site");
    await site.ipBatch([
      "address add 192.168.1.9/24 dev eth0",
      `route add default via ${gateway}`,
    ]);
    await this.#serve(site, ["192.168.1.9"]);
    return site;
  }

  /** Adds a machine with a public IPv4 address in 198.51.101.0/24. */
  async addPublic(label: string, ip4: string): Promise<Namespace> {
    const machine = this.#stack.use(await Namespace.create(label));
    await link(this.router, label, machine, "eth0");
    await this.router.ip("address", "add", "198.51.101.1/24", "dev", label);
    await machine.ipBatch([
      `address add ${ip4}/24 dev eth0`,
      "route add default via 198.51.101.1",
    ]);
    return machine;
  }

  /** Adds a container to the client, which forwards for it; its packets keep their source. */
  async addGuest(): Promise<Namespace> {
    const guest = this.#stack.use(await Namespace.create("guest"));
    await link(this.client, "guest", guest, "eth0");
    await this.client.must(["sh", "-c", FORWARD]);
    await this.client.ip("address", "add", "10.88.0.1/24", "dev", "guest");
    await guest.ipBatch(["address add 10.88.0.2/24 dev eth0", "route add default via 10.88.0.1"]);
    return guest;
  }

  /** Starts a script of the lab that is driven over its standard input. */
  async script(machine: Namespace, name: string, args: readonly string[]): Promise<Process> {
    const process = this.#stack.use(machine.deno(`tests/e2e/lab/${name}.ts`, args, { input: "" }));
    await process.waitForOutput(/^ready/m);
    return process;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  async #connect(): Promise<void> {
    const { client, router, world, exit } = this;
    await link(router, "lan", client, "eth0");
    await link(router, "world", world, "eth0");
    await link(router, "exit", exit, "eth0");
    await router.must(["sh", "-c", FORWARD]);
    await router.ipBatch([
      "address add 192.168.1.1/24 dev lan",
      "address add 2001:db8:1::1/64 dev lan nodad",
      "address add 203.0.113.1/24 dev world",
      "address add 2001:db8:9::1/64 dev world nodad",
      "address add 198.51.100.1/24 dev exit",
      "address add 2001:db8:7::1/64 dev exit nodad",
    ]);
    await router.must(["nft", "-f", "-"], { input: HIDE });
    await client.ipBatch(address(CLIENT4, "192.168.1.1", CLIENT6, "2001:db8:1::1"));
    await exit.ipBatch(address(EXIT4, "198.51.100.1", EXIT6, "2001:db8:7::1"));
    await world.ipBatch([
      ...address(WORLD4, "203.0.113.1", WORLD6, "2001:db8:9::1"),
      `address add ${COORDINATOR4}/24 dev eth0`,
      `address add ${COORDINATOR6}/64 dev eth0 nodad`,
    ]);
  }

  /** Lets a machine tell who asks, on a port of its own and on those of DNS. */
  async #serve(machine: Namespace, ips: readonly string[]): Promise<void> {
    const hosts = ips.map((ip) => ip.includes(":") ? `[${ip}]` : ip);
    const endpoints = hosts.flatMap((host) => [`${host}:9999`, `${host}:53`]);
    await this.script(machine, "echo_address", endpoints);
  }
}

const FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward && " +
  "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";

/** As in homes; of IPv6 every machine is seen. */
const HIDE = `table ip home {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr 192.168.1.0/24 oifname != "lan" masquerade
  }
}
`;

/**
 * The commands that give a machine its addresses and default routes. Like DHCP clients they name the
 * interface: without it the kernel asks the policy rules where the router is, and finds the tunnel.
 */
export function address(ip4: string, via4: string, ip6: string, via6: string): string[] {
  return [
    `address add ${ip4}/24 dev eth0`,
    `address add ${ip6}/64 dev eth0 nodad`,
    `route replace default via ${via4} dev eth0`,
    `route replace default via ${via6} dev eth0`,
  ];
}

async function link(a: Namespace, aDevice: string, b: Namespace, bDevice: string): Promise<void> {
  const peer = ["peer", "name", bDevice, "netns", b.name];
  await a.ip("link", "add", aDevice, "type", "veth", ...peer);
  // Link-local addresses of the kernel's own choice would have to wait for a check.
  for (const [machine, device, ip] of [[a, aDevice, "fe80::1"], [b, bDevice, "fe80::2"]] as const) {
    await machine.ipBatch([
      `link set ${device} addrgenmode none`,
      `link set ${device} up`,
      `address add ${ip}/64 dev ${device} nodad`,
    ]);
  }
}

/** What leaves the client by its uplink, as its router sees it. */
export class Capture implements AsyncDisposable {
  readonly #world: ExitWorld;
  readonly #process: Process;
  #sentinels = 0;
  #seen = 0;

  private constructor(world: ExitWorld, process: Process) {
    this.#world = world;
    this.#process = process;
  }

  static async start(world: ExitWorld): Promise<Capture> {
    const args = ["-i", "lan", "-Q", "in", "-n", "-l", "--immediate-mode", "not", "arp"];
    const process = world.router.spawn(["tcpdump", ...args]);
    await process.waitForOutput(/listening on/);
    return new Capture(world, process);
  }

  /**
   * What left since the last call outside of the tunnel, neighbour discovery aside. Everything that
   * left before the call has been seen when the promise resolves.
   */
  async leaks(): Promise<string[]> {
    // A marked packet of a length of its own may leave, and so tells how far the capture is.
    const bytes = 100 + this.#sentinels++;
    const ping = ["ping", "-n", "-c", "1", "-W", "1", "-m", `${MARK}`, "-s", `${bytes}`, EXIT4];
    const sentinel = new RegExp(`> ${EXIT4}: ICMP echo request.*length ${bytes + 8}$`);
    const lines = await waitFor("the sentinel on the uplink", async () => {
      await this.#world.client.run(ping);
      const all = this.#process.stdout.split("\n");
      const end = all.findIndex((line, i) => i >= this.#seen && sentinel.test(line));
      return end < 0 ? null : { end, between: all.slice(this.#seen, end) };
    });
    this.#seen = lines.end + 1;
    return lines.between.filter((line) => !isHarmless(line));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

function isHarmless(line: string): boolean {
  // The tunnel, and sentinels.
  if (line.includes(`> ${EXIT4}.${TUNNEL_PORT}: UDP`)) return true;
  if (line.includes(`> ${EXIT4}: ICMP echo request`)) return true;
  return /ICMP6, (neighbor|router) (solicitation|advertisement)|multicast listener report/.test(
    line,
  );
}
