/**
 * TunnelMesh itself as a contender: a coordinator with its node on `a`, a node that joins on `b`,
 * both started by the command line as users start them.
 * @module
 */
import { Node } from "../../tests/e2e/lab/node.ts";
import type { Pair } from "./pair.ts";
import { type Contender, disposeAll, type End, type Tunnel, TUNNEL_MTU } from "./tunnel.ts";

/** The ways to run it that are compared, and what each adds to the command line. */
const VARIANTS: Readonly<Record<string, { readonly about: string; readonly args: string[] }>> = {
  "tunnelmesh": { about: "whatever two own nodes agree on", args: [] },
  "tunnelmesh-plain": {
    about: "plain WireGuard on the wire",
    args: ["--disable", "pieces", "--disable", "aes"],
  },
  "tunnelmesh-wasm": {
    about: "ciphers in WebAssembly instead of libcrypto",
    args: ["--aead", "wasm"],
  },
};

/** The names that {@link ownContender} knows. */
export const OWN_NAMES = Object.keys(VARIANTS);

/** One way to run this repository's own program. */
export function ownContender(name: string): Contender {
  const { about, args } = VARIANTS[name]!;
  return { name, about, start: (pair) => start(pair, args) };
}

async function start(pair: Pair, extra: readonly string[]): Promise<Tunnel> {
  return (await ownNodes(pair, extra)).tunnel();
}

/** Both nodes, the coordinator's first; the tunnel between them ends with them. */
export interface OwnNodes extends AsyncDisposable {
  readonly all: readonly Node[];
  tunnel(): Promise<Tunnel>;
}

/** Starts both nodes and waits until they are direct. */
export async function ownNodes(pair: Pair, extra: readonly string[]): Promise<OwnNodes> {
  const options = { args: ["--mtu", `${TUNNEL_MTU}`, ...extra] };
  const nodes: Node[] = [];
  const dispose = () => disposeAll(nodes);
  try {
    const a = await Node.up(pair.a, options);
    nodes.push(a);
    const b = await Node.join(pair.b, a.invitation!, options);
    nodes.push(b);
    await Promise.all([a.waitUntilDirect(["b"]), b.waitUntilDirect(["a"])]);
    return {
      all: nodes,
      tunnel: async () => ({
        a: await endOf(a),
        b: await endOf(b),
        [Symbol.asyncDispose]: dispose,
      }),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    const logs = nodes.map((node) => node.log).join("\n");
    await dispose();
    throw new Error(`Cannot start TunnelMesh\n${logs}`, { cause: error });
  }
}

async function endOf(node: Node): Promise<End> {
  return { machine: node.machine, ip: (await node.addresses()).ip4, pid: node.process.pid };
}
