/**
 * A whole mesh in the lab, and tests that run on one.
 * @module
 */
import { labTest, type Needs } from "../../skip.ts";
import { Node, type NodeOptions, prefetch } from "./node.ts";
import { Lan, type LanOptions } from "./topology.ts";

/** How to build a mesh. */
export interface MeshOptions extends LanOptions {
  /** Nodes beside the coordinator `c`. Default `["a", "b"]`. */
  readonly nodes?: readonly string[];
  /** How to start each, by its label. */
  readonly start?: Readonly<Record<string, NodeOptions>>;
  /** Environment of all. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A coordinator `c` and nodes on one network, each a machine of its own. */
export class Mesh implements AsyncDisposable {
  readonly lan: Lan;
  readonly #nodesByLabel = new Map<string, Node>();
  readonly #options: MeshOptions;

  private constructor(lan: Lan, options: MeshOptions) {
    this.lan = lan;
    this.#options = options;
  }

  /** Starts the coordinator, then all nodes at once; resolves when every pair is direct. */
  static async create(options: MeshOptions = {}): Promise<Mesh> {
    const labels = options.nodes ?? ["a", "b"];
    await prefetch();
    const mesh = new Mesh(await Lan.create(["c", ...labels], options), options);
    try {
      mesh.#nodesByLabel.set("c", await Node.up(mesh.lan.host("c"), mesh.#startOptions("c")));
      await Promise.all(labels.map((label) => mesh.join(label)));
      await mesh.waitUntilDirect();
      return mesh;
    } catch (error) {
      const logs = mesh.logs();
      await mesh[Symbol.asyncDispose]();
      throw new Error(`Cannot build the mesh\n${logs}`, { cause: error });
    }
  }

  /** Starts one more node, on its machine or on one that is added for it. */
  join(label: string): Promise<Node> {
    return this.joinWith(label, this.#startOptions(label));
  }

  /** Starts one more node in a way that is known only at this point. */
  async joinWith(label: string, options: NodeOptions): Promise<Node> {
    const host = this.lan.has(label) ? this.lan.host(label) : await this.lan.add(label);
    const node = await Node.join(host, this.coordinator.invitation!, options);
    this.#nodesByLabel.set(label, node);
    return node;
  }

  /** The node on the machine with that label. */
  node(label: string): Node {
    const node = this.#nodesByLabel.get(label);
    if (!node) throw new RangeError(`No node "${label}" in this mesh`);
    return node;
  }

  /** The coordinator's node. */
  get coordinator(): Node {
    return this.node("c");
  }

  get nodes(): Node[] {
    return [...this.#nodesByLabel.values()];
  }

  /** Waits until every node has a direct session with every other. */
  async waitUntilDirect(timeoutMs = 20_000): Promise<void> {
    await Promise.all(this.nodes.map((node) => {
      const others = this.nodes.filter((other) => other !== node);
      return node.waitUntilDirect(others.map((other) => other.name), timeoutMs);
    }));
  }

  /** What all nodes have written. */
  logs(): string {
    return this.nodes.map((node) => `=== ${node.name}\n${node.log}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes.toReversed()) await node[Symbol.asyncDispose]();
    await this.lan[Symbol.asyncDispose]();
  }

  #startOptions(label: string): NodeOptions {
    const own = this.#options.start?.[label] ?? {};
    return { ...own, env: { ...this.#options.env, ...own.env } };
  }
}

/** What {@link meshTest} runs. */
export interface MeshTest {
  readonly name: string;
  readonly needs?: Needs;
  readonly mesh?: MeshOptions;
  readonly run: (mesh: Mesh) => Promise<void>;
}

/** Registers a test on a fresh mesh; a failure brings what all nodes have written. */
export function meshTest(test: MeshTest): void {
  labTest({
    name: test.name,
    ...(test.needs === undefined ? {} : { needs: test.needs }),
    run: async () => {
      await using mesh = await Mesh.create(test.mesh);
      await withLogs(mesh, () => test.run(mesh));
    },
  });
}

/** Runs a part of a test; its failure brings what all nodes have written. */
export async function withLogs(mesh: Mesh, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`${message}\n${mesh.logs()}`, { cause: error });
  }
}
