/**
 * The command line of the benchmark.
 * @module
 */
import { parseArgs } from "node:util";
import { ALL_NAMES, type Paths } from "./contenders.ts";
import type { Durations } from "./measure.ts";

/** What `--help` prints. */
export const HELP = `How fast is TunnelMesh beside other tunnels in user space? (as root, on Linux)

Usage: deno task bench:throughput [OPTIONS]

  --only NAME,...              of: ${ALL_NAMES.slice(0, 4).join(", ")},
                               ${ALL_NAMES.slice(4).join(", ")}
  --rounds N                   visits to each tunnel, in turn (default 3)
  --seconds N                  length of each TCP run (default 3)
  --quick                      one round of short runs, under two minutes
  --json                       one line of JSON instead of tables
  --no-install                 do not install Debian packages that are missing
  --wireguard-go PATH          where a program is that is not on the PATH
  --wireguard-go-latest PATH
  --nebula PATH                nebula-cert has to be in the same folder
  --boringtun PATH
  --help

Examples:
  sudo deno task bench:throughput --quick
  sudo deno task bench:throughput --only tunnelmesh,wireguard-go --rounds 5 --seconds 10
  sudo deno task bench:throughput --nebula ~/bin/nebula --json > result.json
`;

const TEXT = { type: "string" } as const, FLAG = { type: "boolean" } as const;
const FLAGS = {
  "only": TEXT,
  "rounds": TEXT,
  "seconds": TEXT,
  "quick": FLAG,
  "json": FLAG,
  "no-install": FLAG,
  "wireguard-go": TEXT,
  "wireguard-go-latest": TEXT,
  "nebula": TEXT,
  "boringtun": TEXT,
  "help": FLAG,
} as const;

/** What the caller wants. */
export interface Options {
  readonly isHelp: boolean;
  readonly isJson: boolean;
  readonly mayInstall: boolean;
  readonly names: readonly string[];
  readonly rounds: number;
  readonly durations: Durations;
  readonly paths: Paths;
}

const QUICK: Durations = {
  tcpSeconds: 1,
  idleSeconds: 0.5,
  loadedSeconds: 1,
  burstMs: 200,
  bursts: 8,
};
const FULL: Durations = {
  tcpSeconds: 3,
  idleSeconds: 2,
  loadedSeconds: 5,
  burstMs: 500,
  bursts: 16,
};

/** Reads the command line. @throws when it makes no sense. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({ args: [...args], options: FLAGS });
  const base = values.quick ? QUICK : FULL;
  const tcpSeconds = numberOf("seconds", values.seconds) ?? base.tcpSeconds;
  return {
    isHelp: values.help ?? false,
    isJson: values.json ?? false,
    mayInstall: !values["no-install"],
    names: namesOf(values.only),
    rounds: numberOf("rounds", values.rounds) ?? (values.quick ? 1 : 3),
    durations: { ...base, tcpSeconds },
    paths: {
      "wireguard-go": values["wireguard-go"],
      "wireguard-go-latest": values["wireguard-go-latest"],
      "nebula": values.nebula,
      "boringtun": values.boringtun,
    },
  };
}

function namesOf(only: string | undefined): readonly string[] {
  if (only === undefined) return ALL_NAMES;
  const names = only.split(",").map((name) => name.trim()).filter((name) => name !== "");
  const unknown = names.find((name) => !ALL_NAMES.includes(name));
  if (unknown !== undefined || names.length === 0) {
    throw new Error(`Cannot measure "${unknown ?? only}": --only takes ${ALL_NAMES.join(", ")}`);
  }
  return names;
}

function numberOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new Error(`Cannot use --${flag} ${text}: it takes a whole number from 1`);
}
