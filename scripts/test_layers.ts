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
}

/**
 * The runs of a layer. Pure files get no permission at all, so that a test which needs one fails;
 * the others run one file after another, for they share the machine's ports and interfaces. The
 * simulator's have their own.
 */
export function testRuns(layer: string, files: readonly string[]): TestRun[] {
  const own = files.filter((path) => testLayerOf(path) === layer);
  const pure = own.filter((path) => isPure(path.replace(/_test\.tsx?$/, ".ts")));
  const others = own.filter((path) => !pure.includes(path));
  return [
    { args: ["test", "--no-prompt", "--parallel"], files: pure },
    { args: ["test", "--allow-all", ...layer === "sim" ? ["--parallel"] : []], files: others },
  ].filter((run) => run.files.length > 0);
}
