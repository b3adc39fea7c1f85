/**
 * Which tunnels can be measured on this machine, and how to get the others.
 * @module
 */
import { dirname, join } from "node:path";
import { run } from "../../tests/e2e/lab/process.ts";
import { startNebula } from "./nebula.ts";
import { OWN_NAMES, ownContender } from "./own.ts";
import type { Pair } from "./pair.ts";
import type { Contender, Tunnel } from "./tunnel.ts";
import { startWireguard } from "./wireguard.ts";

/** Another program that makes tunnels. */
interface Peer {
  readonly name: string;
  /** Its executable's name on the PATH. */
  readonly program: string;
  readonly versionFlag: string;
  readonly howToGet: string;
  /** A second executable in the same folder. */
  readonly companion?: string;
  start(program: string, pair: Pair): Promise<Tunnel>;
}

const PEERS: readonly Peer[] = [
  {
    name: "wireguard-go",
    program: "wireguard-go",
    versionFlag: "--version",
    howToGet: "apt-get install wireguard-go",
    start: startWireguard,
  },
  {
    name: "wireguard-go-latest",
    program: "wireguard",
    versionFlag: "--version",
    howToGet: "go install golang.zx2c4.com/wireguard@latest, then --wireguard-go-latest PATH",
    start: startWireguard,
  },
  {
    name: "nebula",
    program: "nebula",
    versionFlag: "-version",
    companion: "nebula-cert",
    howToGet: "go install github.com/slackhq/nebula/cmd/...@latest, then --nebula PATH",
    start: startNebula,
  },
  {
    name: "boringtun",
    program: "boringtun-cli",
    versionFlag: "--version",
    howToGet: "cargo install boringtun-cli, then --boringtun PATH",
    start: startWireguard,
  },
];

/** Names of other programs, by which ratios are reported. */
export const PEER_NAMES = PEERS.map((peer) => peer.name);

/** Every name that can be measured, in the order in which it is. */
export const ALL_NAMES: readonly string[] = [...OWN_NAMES, ...PEER_NAMES];

/** Where executables are, by contender, as far as the caller says so. */
export type Paths = Readonly<Record<string, string | undefined>>;

/** What was found, and what was not. */
export interface Found {
  readonly contenders: readonly Contender[];
  /** How to get each of those that are missing, by name. */
  readonly missing: Readonly<Record<string, string>>;
}

/** Looks for the programs of `names`. */
export async function findContenders(names: readonly string[], paths: Paths): Promise<Found> {
  const contenders: Contender[] = [], missing: Record<string, string> = {};
  for (const name of ALL_NAMES.filter((each) => names.includes(each))) {
    const peer = PEERS.find((each) => each.name === name);
    if (!peer) {
      contenders.push(ownContender(name));
      continue;
    }
    const program = findProgram(paths[name] ?? peer.program);
    if (program === null || !hasCompanion(peer, program)) missing[name] = peer.howToGet;
    else contenders.push(await peerContender(peer, program));
  }
  return { contenders, missing };
}

async function peerContender(peer: Peer, program: string): Promise<Contender> {
  const { stdout, stderr } = await run([program, peer.versionFlag]);
  const version = (stdout + stderr).trim().split("\n")[0]!;
  return {
    name: peer.name,
    about: `${version} (${program})`,
    start: (pair) => peer.start(program, pair),
  };
}

function hasCompanion({ companion }: Peer, program: string): boolean {
  return companion === undefined || findProgram(join(dirname(program), companion)) !== null;
}

/** The absolute path of an executable given by path or by name, or null. */
function findProgram(nameOrPath: string): string | null {
  const folders = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
  const candidates = nameOrPath.includes("/")
    ? [nameOrPath]
    : [...folders, "/usr/sbin", "/usr/bin"].map((folder) => `${folder}/${nameOrPath}`);
  for (const path of candidates) {
    try {
      if (Deno.statSync(path).isFile) return Deno.realPathSync(path);
    } catch {
      // Not there: the next folder may have it.
    }
  }
  return null;
}
