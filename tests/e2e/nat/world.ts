/**
 * A mesh over the internet of the laboratory: a coordinator on a public machine, nodes anywhere.
 * @module
 */
import { strict as assert } from "node:assert";
import type { PeerReport } from "../../../core/daemon/api_types.ts";
import type { PathKind } from "../../../core/path/address.ts";
import { labTest, type Needs } from "../../skip.ts";
import { Node, type NodeOptions, prefetch } from "../lab/node.ts";
import type { Process } from "../lab/process.ts";
import type { Host } from "../lab/topology.ts";
import { Internet } from "./internet.ts";
import type { SiteKind } from "./kinds.ts";
import type { Site, SiteOptions } from "./site.ts";

/** Where the coordinator listens: what `only-443` sites reach too. */
const COORDINATOR_PORT = 443;
const PROXY_PORT = 3128;
/** A proxy of the tests' own environment is not on this internet. */
const NO_PROXY = { HTTPS_PROXY: "", https_proxy: "" };

/** A node at a site of its own. */
export interface Placed {
  readonly site: Site;
  readonly node: Node;
}

/** The internet, the coordinator `c` and all nodes; dispose of it to end them. */
export class World implements AsyncDisposable {
  readonly net: Internet;
  readonly coordinator: Node;
  readonly #stack: AsyncDisposableStack;
  readonly #nodesByName = new Map<string, Node>();
  #proxy: Promise<string> | null = null;

  private constructor(net: Internet, coordinator: Node, stack: AsyncDisposableStack) {
    this.net = net;
    this.coordinator = coordinator;
    this.#stack = stack;
    this.#nodesByName.set(coordinator.name, coordinator);
  }

  /** Starts a coordinator and nobody else. */
  static async create(options: NodeOptions = {}): Promise<World> {
    await prefetch();
    await using stack = new AsyncDisposableStack();
    const net = stack.use(await Internet.create());
    const host = await net.addPublic("c");
    const args = ["--listen", `:${COORDINATOR_PORT}`, ...options.args ?? []];
    const env = { ...NO_PROXY, ...options.env };
    const coordinator = stack.use(await Node.up(host, { ...options, args, env }));
    return new World(net, coordinator, stack.move());
  }

  get nodes(): Node[] {
    return [...this.#nodesByName.values()];
  }

  /** The node with that name. */
  node(name: string): Node {
    const node = this.#nodesByName.get(name);
    if (!node) throw new RangeError(`No node "${name}" in this world`);
    return node;
  }

  /** Starts a node on a machine. */
  async join(host: Host, options: NodeOptions = {}): Promise<Node> {
    const env = { ...NO_PROXY, ...options.env };
    const node = await Node.join(host, this.coordinator.invitation!, { ...options, env });
    this.#stack.use(node);
    this.#nodesByName.set(node.name, node);
    return node;
  }

  /** Takes a node that was started otherwise, to be ended with this world. */
  adopt(node: Node): Node {
    this.#stack.use(node);
    this.#nodesByName.set(node.name, node);
    return node;
  }

  /** Starts a node on a public machine of its own. */
  async joinPublic(name: string, options: NodeOptions = {}): Promise<Node> {
    return await this.join(await this.net.addPublic(name), options);
  }

  /** Starts a node at a site of its own; one behind a proxy is told of it. */
  async joinAt(
    kind: SiteKind,
    name: string,
    options: NodeOptions & { readonly site?: SiteOptions } = {},
  ): Promise<Placed> {
    const { site: siteOptions, ...start } = options;
    const proxy = kind === "proxy-only" ? await this.proxy() : null;
    const site = await this.net.addSite(kind, [name], {
      ...siteOptions,
      ...(proxy === null ? {} : { proxy }),
    });
    const env = { ...start.env, ...(proxy === null ? {} : { HTTPS_PROXY: `http://${proxy}` }) };
    return { site, node: await this.join(site.host(name), { ...start, env }) };
  }

  /** `address:port` of an HTTP proxy on a public machine. */
  proxy(): Promise<string> {
    return this.#proxy ??= this.#startProxy();
  }

  /** What all nodes have written. */
  logs(): string {
    return this.nodes.map((node) => `=== ${node.name}\n${node.log}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  async #startProxy(): Promise<string> {
    const host = await this.net.addPublic("proxy");
    const args = [`${PROXY_PORT}`];
    const process: Process = host.namespace.deno("tests/e2e/nat/http_proxy.ts", args);
    this.#stack.use(process);
    await process.waitForOutput(/^ready$/m);
    return `${host.ip4}:${PROXY_PORT}`;
  }
}

/** What {@link worldTest} runs. */
export interface WorldTest {
  readonly name: string;
  readonly needs?: Needs;
  /** How the coordinator starts. */
  readonly coordinator?: NodeOptions;
  readonly run: (world: World) => Promise<void>;
}

/** Registers a test on a fresh world; a failure brings what all nodes have written. */
export function worldTest(test: WorldTest): void {
  labTest({
    name: test.name,
    ...(test.needs === undefined ? {} : { needs: test.needs }),
    run: async () => {
      await using world = await World.create(test.coordinator);
      try {
        await test.run(world);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        throw new Error(`${message}\n${world.logs()}`, { cause: error });
      }
    },
  });
}

/** What a node says of a peer; it has to know it. */
export async function peerOf(node: Node, name: string): Promise<PeerReport> {
  const peer = (await node.mustStatus()).peers.find((each) => each.name === name);
  if (!peer) throw new Error(`Cannot ask ${node.name} about ${name}: it knows no such peer`);
  return peer;
}

/** Waits until a node reaches a peer by a path of one of those kinds. */
export async function waitForLink(
  node: Node,
  name: string,
  links: readonly PeerReport["link"][],
  timeoutMs = 15_000,
): Promise<PeerReport> {
  const find = (peers: readonly PeerReport[]) =>
    peers.find((peer) => peer.name === name && links.includes(peer.link));
  const what = `${name} by ${links.join(" or ")}`;
  const { peers } = await node.waitForStatus(what, ({ peers }) => !!find(peers), timeoutMs);
  return find(peers)!;
}

/** Tells a node not to use those kinds of path for a peer. */
export async function setPaths(
  node: Node,
  peer: string,
  exclude: readonly PathKind[],
): Promise<void> {
  const socket = node.machine.hostPath("/run/tunnelmesh/default.sock");
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
  const body = JSON.stringify({ peer, exclude });
  const response = await fetch("http://localhost/v1/paths", { method: "POST", body, client });
  const text = await response.text();
  if (!response.ok) throw new Error(`Cannot set paths of ${node.name} to ${peer}: ${text}`);
}

/** Requires that something took no longer than it may; `LAB_FIGURES=1` prints how long. */
export function assertWithin(ms: number, limitMs: number, what: string): void {
  if (Deno.env.get("LAB_FIGURES") === "1") console.log(`${what}: ${Math.round(ms)} ms`);
  assert.ok(ms <= limitMs, `${what}: ${Math.round(ms)} ms, more than ${limitMs}`);
}
