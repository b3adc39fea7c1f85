/**
 * The layers of the test suite: which files belong to each, with which rights they run, how long
 * they may take.
 * @module
 */
import { isPure } from "./layers.ts";

/** One layer. */
export interface TestLayer {
  readonly name: string;
  readonly about: string;
  readonly needsRoot: boolean;
  /** A layer that takes longer has hung. */
  readonly limitMs: number;
}

/** In the order in which they run: what is quick and precise comes first. */
export const TEST_LAYERS: readonly TestLayer[] = [
  {
    name: "unit",
    about: "every module alone, the pure ones without any permission",
    needsRoot: false,
    limitMs: 420_000,
  },
  {
    name: "sim",
    about: "whole meshes in a seeded simulator",
    needsRoot: false,
    limitMs: 420_000,
  },
  {
    name: "e2e",
    about: "real nodes in network namespaces",
    needsRoot: true,
    limitMs: 900_000,
  },
  {
    name: "interop",
    about: "wireguard-go on the other side",
    needsRoot: true,
    limitMs: 300_000,
  },
  {
    name: "vm",
    about: "the Linux kernel's WireGuard in a virtual machine",
    needsRoot: true,
    limitMs: 300_000,
  },
];

/** The name of the layer a test file belongs to. */
export function testLayerOf(path: string): string {
  const folder = /^tests\/([^/]+)\//.exec(path)?.[1];
  return TEST_LAYERS.find((layer) => layer.name === folder)?.name ?? "unit";
}

/** One `deno test`: its flags and files. */
export interface TestRun {
  readonly args: readonly string[];
  readonly files: readonly string[];
  /** Whether it may run at the same time as the one before. */
  readonly isBeside: boolean;
}

/**
 * Files of the network laboratory that may run while another half of them does: what they test is
 * no matter of milliseconds. The halves take about as long.
 */
const HALVES: readonly (readonly string[])[] = [
  ["endurance", "df_socket", "dns_resolv_conf", "dns_resolved", "exit_neighbours", "exit_rules"],
  ["bad_input", "contexts", "exit_leak", "exit_node", "filter", "seed_forms"],
].map((half) => half.map((name) => `tests/e2e/${name}_test.ts`));

/**
 * The runs of a layer. Pure files get no permission at all, so that a test which needs one fails.
 * Of the others, files of one run share the machine's ports and interfaces and follow one another;
 * the simulator's have their own. Two runs side by side have processes and namespaces of their own.
 */
export function testRuns(layer: string, files: readonly string[]): TestRun[] {
  const own = files.filter((path) => testLayerOf(path) === layer);
  const pure = own.filter((path) => isPure(path.replace(/_test\.tsx?$/, ".ts")));
  const others = own.filter((path) => !pure.includes(path));
  const all = ["test", "--allow-all"];
  const run = (args: readonly string[], files: readonly string[], isBeside = false) => {
    return { args, files, isBeside };
  };
  const runs = [run(["test", "--no-prompt", "--parallel"], pure)];
  switch (layer) {
    case "sim":
      runs.push(run([...all, "--parallel"], others));
      break;
    case "unit": {
      const whole = others.filter((path) => path.startsWith("tests/"));
      runs.push(run(all, others.filter((path) => !whole.includes(path))), run(all, whole, true));
      break;
    }
    default: {
      const halves = HALVES.map((half) => others.filter((path) => half.includes(path)));
      runs.push(run(all, others.filter((path) => !halves.flat().includes(path))));
      runs.push(...halves.map((half, i) => run(all, half, i > 0)));
    }
  }
  return runs.filter(({ files }) => files.length > 0);
}
