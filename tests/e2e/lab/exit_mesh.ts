/**
 * Real nodes on the machines of an {@link ExitWorld}: a coordinator in the world, an exit, and a
 * client in its LAN.
 * @module
 */
import { COORDINATOR4, EXIT4, EXIT6, ExitWorld, WORLD6 } from "./exit_world.ts";
import { Node, type NodeOptions, prefetch } from "./node.ts";
import { applyPolicy, FIRST_RULES } from "./policy.ts";
import type { Host } from "./topology.ts";
import type { Namespace } from "./netns.ts";
import type { ExitReport } from "../../../core/daemon/exit_report.ts";

/** Everybody may be an exit for everybody, and lead to the networks of the lab. */
export const OPEN_POLICY = `${FIRST_RULES}exits:
  - { offer: everyone, use: everyone }
routes:
  - { prefix: 192.168.1.0/24, offer: everyone, use: everyone }
  - { prefix: 10.77.0.0/16, offer: everyone, use: everyone }
`;

/** The mesh and its machines; dispose of it to end it all. */
export class ExitMesh implements AsyncDisposable {
  readonly world: ExitWorld;
  readonly coordinator: Node;
  readonly #stack: AsyncDisposableStack;
  readonly #nodes: Node[];

  private constructor(world: ExitWorld, coordinator: Node, stack: AsyncDisposableStack) {
    this.world = world;
    this.coordinator = coordinator;
    this.#stack = stack;
    this.#nodes = [coordinator];
  }

  /** Starts the coordinator and nobody else; `policy` null leaves the first one in force. */
  static async create(policy: string | null): Promise<ExitMesh> {
    await prefetch();
    await using stack = new AsyncDisposableStack();
    const world = stack.use(await ExitWorld.create());
    const host = { namespace: world.world, label: "c", ip4: COORDINATOR4, ip6: WORLD6 };
    const coordinator = stack.use(await Node.up(host, { name: "c" }));
    if (policy !== null) await applyPolicy(coordinator, policy);
    return new ExitMesh(world, coordinator, stack.move());
  }

  /** Starts the node of the machine that is an exit. */
  joinExit(...args: string[]): Promise<Node> {
    const host = { namespace: this.world.exit, label: "exit", ip4: EXIT4, ip6: EXIT6 };
    return this.join(host, { name: "exit", args });
  }

  /** Starts the client's node. */
  joinClient(...args: string[]): Promise<Node> {
    const host = { namespace: this.world.client, label: "client", ip4: "", ip6: "" };
    return this.join(host, { name: "client", args });
  }

  /** Starts a node. */
  async join(host: Host, options: NodeOptions): Promise<Node> {
    const node = this.#stack.use(await Node.join(host, this.coordinator.invitation!, options));
    this.#nodes.push(node);
    return node;
  }

  /** Ends with the mesh whatever it is given. */
  use<T extends AsyncDisposable>(thing: T): T {
    return this.#stack.use(thing);
  }

  /** What all nodes have written. */
  logs(): string {
    return this.#nodes.map((node) => `=== ${node.name}\n${node.log}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** What a node says about exits; null when its daemon does not answer. */
export async function exitsOf(node: Node): Promise<ExitReport | null> {
  return await askLocal(node.machine, "/v1/exits");
}

/** Asks a daemon; null when it does not answer. */
async function askLocal<T>(machine: Namespace, path: string): Promise<T | null> {
  const socket = machine.hostPath("/run/tunnelmesh/default.sock");
  using client = Deno.createHttpClient({
    proxy: { transport: "unix", path: socket },
    poolMaxIdlePerHost: 0,
  });
  try {
    const response = await fetch(`http://localhost${path}`, { client });
    return response.ok ? await response.json() : (await response.body?.cancel(), null);
  } catch {
    return null;
  }
}

/** Runs a test on a mesh with a coordinator; a failure brings what all nodes have written. */
export async function withExitMesh(
  run: (mesh: ExitMesh) => Promise<void>,
  policy: string | null = OPEN_POLICY,
): Promise<void> {
  await using mesh = await ExitMesh.create(policy);
  try {
    await run(mesh);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`${message}\n${mesh.logs()}`, { cause: error });
  }
}
