/**
 * A port of a real router: miniupnpd over nftables, by each of the three protocols.
 * @module
 */
import { strict as assert } from "node:assert";
import { labTest } from "../skip.ts";
import { Namespace } from "./lab/netns.ts";
import { type Process, waitFor } from "./lab/process.ts";

const PORT = 51820;
/** Public by its looks: miniupnpd refuses documentation ranges. Nothing leaves the namespaces. */
const WAN = "50.0.0.1";

/** Chains that miniupnpd fills, and the masquerading of a home router. */
const RULES = `table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" accept
    jump miniupnpd
  }
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

  /** Starts the router's daemon with some of its protocols. */
  async serve({ pmp, upnp }: { pmp: boolean; upnp: boolean }): Promise<void> {
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

for (const [protocol, served] of CASES) {
  labTest({
    name: `a port of the router by ${protocol} lets datagrams in, and is given back at the end`,
    needs: { tools: ["miniupnpd"] },
    run: async () => {
      await using home = await Home.create();
      await home.serve(served);
      await using peer = home.client.deno("tests/e2e/portmap_peer.ts", [`${PORT}`], {
        input: "",
      });
      const mapped = new RegExp(`"state":"mapped","protocol":"${protocol}"`);
      await peer.waitForOutput(mapped, 10_000).catch((error) => {
        throw new Error(`${error.message}\n${peer.report("was")}\n${home.log}`, { cause: error });
      });
      const external = /"external":"([\d.]+):(\d+)"/g;
      const [, ip, port] = [...peer.stdout.matchAll(external)].at(-1)!;
      assert.equal(ip, WAN);
      const knock = `echo -n knock > /dev/udp/${WAN}/${port}`;
      await home.outside.must(["bash", "-c", knock]);
      await peer.waitForOutput(/"received":"knock"/, 5_000);

      await peer.closeInput();
      await peer.waitForOutput(/"closed":true/, 5_000);
      await waitFor("no mapping at the router", async () => {
        const rules = await home.router.must([
          "nft",
          "list",
          "chain",
          "inet",
          "filter",
          "prerouting_miniupnpd",
        ]);
        return rules.includes("dnat") ? null : true;
      });
    },
  });
}
