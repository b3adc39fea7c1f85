/**
 * A port of a real router, and a pinhole in its IPv6 firewall: miniupnpd over nftables, by PCP and by
 * UPnP.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { Namespace } from "./lab/netns.ts";
import { type Process, waitFor } from "./lab/process.ts";

const PORT = 51820;
/** Public by its looks: miniupnpd refuses documentation ranges. Nothing leaves the namespaces. */
const WAN = "50.0.0.1";
/** The client's address for IPv6. */
const CLIENT6 = "2600:1:1::2";

/** Chains that miniupnpd fills, and the masquerading of a home router. */
const RULES = `table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" accept
    jump miniupnpd
    meta l4proto udp counter name refused
  }
  counter refused {}
  chain miniupnpd {}
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain prerouting_miniupnpd {}
  chain postrouting { type nat hook postrouting priority 100;
    jump postrouting_miniupnpd
    oifname "wan" masquerade
  }
  chain postrouting_miniupnpd {}
}
`;

/** Keeps requests from the router's port 5351. */
const WITHOUT_PCP = `table inet without_pcp {
  chain input { type filter hook input priority 0; udp dport 5351 drop; }
}
`;

/** A client, its router with miniupnpd, and somebody outside. */
class Home implements AsyncDisposable {
  readonly client: Namespace;
  readonly router: Namespace;
  readonly outside: Namespace;
  #daemon: Process | null = null;

  private constructor(client: Namespace, router: Namespace, outside: Namespace) {
    [this.client, this.router, this.outside] = [client, router, outside];
  }

  static async create(): Promise<Home> {
    const [client, router, outside] = await Promise.all(
      ["client", "router", "outside"].map((label) => Namespace.create(label)),
    );
    const home = new Home(client!, router!, outside!);
    await connect(client!, "eth0", router!, "lan");
    await connect(outside!, "eth0", router!, "wan");
    await client!.ipBatch(["address add 10.1.0.2/24 dev eth0", "route add default via 10.1.0.1"]);
    await router!.ipBatch([`address add 10.1.0.1/24 dev lan`, `address add ${WAN}/24 dev wan`]);
    await outside!.ipBatch(["address add 50.0.0.2/24 dev eth0"]);
    await router!.must(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    await router!.must(["nft", "-f", "-"], { input: RULES });
    return home;
  }

  /** Gives everybody IPv6; the router is known by its link-local address, as at home. */
  async addIpv6(): Promise<void> {
    const { client, router, outside } = this;
    await router.must(["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"]);
    await router.ipBatch([
      "address add fe80::1/64 dev lan nodad",
      "address add 2600:1:1::1/64 dev lan nodad",
      "address add 2600:1:2::1/64 dev wan nodad",
    ]);
    await client.ipBatch([
      `address add ${CLIENT6}/64 dev eth0 nodad`,
      "route add default via fe80::1 dev eth0",
    ]);
    await outside.ipBatch([
      "address add 2600:1:2::2/64 dev eth0 nodad",
      "route add default via 2600:1:2::1",
    ]);
  }

  /** Starts the router's daemon with some of its protocols. */
  async serve({ pmp, upnp }: { pmp: boolean; upnp: boolean }): Promise<void> {
    // miniupnpd 2.3.1 answers PCP over IPv6 whatever enable_natpmp says.
    if (!pmp) await this.router.must(["nft", "-f", "-"], { input: WITHOUT_PCP });
    const path = `${this.router.directory}/home/upnpd.conf`;
    await Deno.writeTextFile(
      path,
      [
        "ext_ifname=wan",
        `ext_ip=${WAN}`,
        "listening_ip=lan",
        `enable_natpmp=${pmp ? "yes" : "no"}`,
        `enable_upnp=${upnp ? "yes" : "no"}`,
        "secure_mode=yes",
        "uuid=12345678-1234-1234-1234-123456789012",
        "upnp_table_name=filter",
        "upnp_nat_table_name=filter",
        "upnp_forward_chain=miniupnpd",
        "upnp_nat_chain=prerouting_miniupnpd",
        "upnp_nat_postrouting_chain=postrouting_miniupnpd",
        "allow 1024-65535 10.1.0.0/24 1024-65535",
        "deny 0-65535 0.0.0.0/0 0-65535",
        "",
      ].join("\n"),
    );
    this.#daemon = this.router.spawn(["miniupnpd", "-d", "-f", path, "-P", "/run/upnpd.pid"]);
    await this.#daemon.waitForOutput(/listening on|HTTP listening/, 5_000).catch(() => {});
  }

  /** The rules of one of the daemon's chains. */
  rules(chain: string): Promise<string> {
    return this.router.must(["nft", "list", "chain", "inet", "filter", chain]);
  }

  /** Waits until so many datagrams came to the router's firewall and did not get in. */
  async waitRefused(packets: number): Promise<void> {
    await waitFor(`${packets} datagrams refused`, async () => {
      const text = await this.router.must(["nft", "list", "counter", "inet", "filter", "refused"]);
      return text.includes(`packets ${packets} `) ? true : null;
    });
  }

  /** What the router's daemon has written. */
  get log(): string {
    return this.#daemon?.report("was") ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    for (const each of [this.client, this.router, this.outside]) await each[Symbol.asyncDispose]();
  }
}

async function connect(a: Namespace, nameA: string, b: Namespace, nameB: string): Promise<void> {
  await a.ip("link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", b.name);
  await a.ip("link", "set", nameA, "up");
  await b.ip("link", "set", nameB, "up");
}

const CASES: [protocol: string, served: { pmp: boolean; upnp: boolean }][] = [
  ["pcp", { pmp: true, upnp: true }],
  ["upnp", { pmp: false, upnp: true }],
];

/** Sends a datagram. */
async function knock(from: Namespace, ip: string, port: string | number, text: string) {
  await from.must(["bash", "-c", `echo -n ${text} > /dev/udp/${ip}/${port}`]);
}

/** Starts the client's node, as far as it talks to the router, and waits for what it says. */
async function startPeer(home: Home, expected: RegExp): Promise<Process> {
  const peer = home.client.deno("tests/e2e/portmap_peer.ts", [`${PORT}`], { input: "" });
  await peer.waitForOutput(expected, 15_000).catch(async (error) => {
    const facts = `${error.message}\n${peer.report("was")}\n${home.log}`;
    await peer[Symbol.asyncDispose]();
    throw new Error(facts, { cause: error });
  });
  return peer;
}

for (const [protocol, served] of CASES) {
  labTest({
    name: `a port of the router by ${protocol} lets datagrams in, and is given back at the end`,
    needs: { tools: ["miniupnpd"] },
    run: async () => {
      await using home = await Home.create();
      await home.serve(served);
      const mapped = new RegExp(`"state":"mapped","protocol":"${protocol}"`);
      await using peer = await startPeer(home, mapped);
      const external = /"external":"([\d.]+):(\d+)"/g;
      const [, ip, port] = [...peer.stdout.matchAll(external)].at(-1)!;
      assert.equal(ip, WAN);
      await knock(home.outside, WAN, port!, "knock");
      await peer.waitForOutput(/"received":"knock"/, 5_000);

      await peer.closeInput();
      await peer.waitForOutput(/"closed":true/, 5_000);
      await waitFor("no mapping at the router", async () => {
        const rules = await home.rules("prerouting_miniupnpd");
        return rules.includes("dnat") ? null : true;
      });
      await knock(home.router, "10.1.0.2", PORT, "end");
    },
  });

  labTest({
    name: `a pinhole by ${protocol} lets datagrams in over IPv6, and only while it is there`,
    needs: { tools: ["miniupnpd"] },
    run: async () => {
      await using home = await Home.create();
      await home.addIpv6();
      await home.serve(served);
      await knock(home.outside, CLIENT6, PORT, "early");
      await home.waitRefused(1);
      const open = new RegExp(
        `"pinhole":\\{"state":"open","protocol":"${protocol}","endpoint":"\\[${CLIENT6}\\]:${PORT}"`,
      );
      await using peer = await startPeer(home, open);
      await knock(home.outside, CLIENT6, PORT, "knock");
      await peer.waitForOutput(/"received":"knock"/, 5_000);

      await peer.closeInput();
      await peer.waitForOutput(/"closed":true/, 5_000);
      await waitFor("no pinhole at the router", async () => {
        const rules = await home.rules("miniupnpd");
        return rules.includes("accept") ? null : true;
      });
      await knock(home.outside, CLIENT6, PORT, "late");
      await home.waitRefused(2);
      await knock(home.router, CLIENT6, PORT, "end");
      await peer.waitForOutput(/"received":"end"/, 5_000);
      assert.doesNotMatch(peer.stdout, /"received":"late"/);
    },
  });
}
