/**
 * Options that set a setting of the configuration: described where the setting is, checked by the
 * configuration's schema, and named in its errors.
 * @module
 */
import { z } from "zod";
import { PeerFile, ServerFile, type Setting, settingsOf } from "../core/config/schema.ts";
import { type FlagValue, variableOf } from "../core/config/source.ts";
import type { CommandContext } from "./command.ts";
import { absolutePath } from "./paths.ts";

const PEER = settingsOf(PeerFile);
const SERVER = settingsOf(ServerFile);

function metaOf(path: string, placeholder: string, settings: readonly Setting[] = PEER) {
  const { node } = settings.find((setting) => setting.path === path)!;
  const fallback = node.whenAbsent ?? defaultOf(node);
  const variable = variableOf(path, node);
  return {
    description: node.description ?? "",
    placeholder,
    ...(node.unit ? { unit: node.unit } : {}),
    ...(fallback === undefined ? {} : { whenAbsent: fallback }),
    ...(variable === null ? {} : { env: variable }),
  };
}

function defaultOf({ default: value }: Setting["node"]): string | undefined {
  return value === undefined || Array.isArray(value) ? undefined : String(value);
}

/** An option whose value is text. */
export function textOption(path: string, placeholder: string, settings?: readonly Setting[]) {
  return z.string().optional().meta(metaOf(path, placeholder, settings));
}

/** An option whose value is a path. */
export function fileOption(path: string, placeholder: string, settings?: readonly Setting[]) {
  const meta = metaOf(path, placeholder, settings);
  return z.string().optional().meta({ ...meta, completes: "files" });
}

/** An option whose value is a whole number. */
export function numberOption(path: string, settings?: readonly Setting[]) {
  return z.int("must be a whole number").optional().meta(metaOf(path, "N", settings));
}

/** An option that may be repeated. */
export function listOption(path: string, placeholder: string, settings?: readonly Setting[]) {
  return z.array(z.string()).optional().meta(metaOf(path, placeholder, settings));
}

/** An option that switches a setting on. */
export function switchOption(path: string) {
  const { whenAbsent: _, ...meta } = metaOf(path, "");
  return z.boolean().optional().meta(meta);
}

/** Options of a node, for commands that run one. */
export const nodeOptions = {
  name: textOption("name", "NAME"),
  udpPort: numberOption("udp_port"),
  interface: textOption("tun.name", "NAME"),
  mtu: numberOption("tun.mtu"),
  aead: textOption("data_plane.aead", "NAME"),
  workers: numberOption("data_plane.workers"),
  disable: listOption("data_plane.disable", "NAME"),
  noDns: z.boolean().default(false).meta({
    description: "Answer no mesh names and leave the system's resolver alone",
  }),
  alias: listOption("dns.aliases", "NAME"),
  exitNode: z.array(z.string()).optional().meta({
    ...metaOf("exit_node", "NAME"),
    completes: "peers",
  }),
  exitPeer: z.array(z.string()).optional().meta({
    description: "Old spelling of --exit-node",
    placeholder: "NAME",
    hidden: true,
  }),
  onExitLoss: textOption("on_exit_loss", "WHAT"),
  exitLan: switchOption("exit_lan"),
  allowExitTraffic: switchOption("allow_exit_traffic"),
  advertiseRoute: listOption("advertise_routes", "NETWORK"),
};

/** Where a coordinator's settings stand: in a peer file below `coordinator`, else at the top. */
export type CoordinatorPrefix = "coordinator." | "";

/** Options of a coordinator, for commands that run one. */
export function coordinatorOptions(prefix: CoordinatorPrefix) {
  const settings = prefix === "" ? SERVER : PEER;
  return {
    listen: textOption(`${prefix}listen`, "HOST:PORT", settings),
    publicHost: listOption(`${prefix}public_hosts`, "HOST", settings),
    stunPort: numberOption(`${prefix}stun_port`, settings),
    stunAddress: textOption(`${prefix}stun_address`, "ADDRESS", settings),
    cidr: textOption(`${prefix}mesh_cidr`, "CIDR", settings),
    dataDir: fileOption(`${prefix}data_dir`, "DIR", settings),
    cert: fileOption(`${prefix}certificate`, "FILE", settings),
    key: fileOption(`${prefix}certificate_key`, "FILE", settings),
  };
}

type Flags = Record<string, FlagValue>;

/** Settings that {@link nodeOptions} gave. */
export function nodeFlags(
  input: z.infer<z.ZodObject<typeof nodeOptions>>,
): Flags {
  return given({
    "name": ["--name", input.name],
    "udp_port": ["--udp-port", input.udpPort],
    "tun.name": ["--interface", input.interface],
    "tun.mtu": ["--mtu", input.mtu],
    "data_plane.aead": ["--aead", input.aead],
    "data_plane.workers": ["--workers", input.workers],
    "data_plane.disable": ["--disable", input.disable],
    "dns.enabled": ["--no-dns", input.noDns ? false : undefined],
    "dns.aliases": ["--alias", input.alias],
    "exit_node": input.exitNode ? ["--exit-node", input.exitNode] : ["--exit-peer", input.exitPeer],
    "on_exit_loss": ["--on-exit-loss", input.onExitLoss],
    "exit_lan": ["--exit-lan", input.exitLan],
    "allow_exit_traffic": ["--allow-exit-traffic", input.allowExitTraffic],
    "advertise_routes": ["--advertise-route", input.advertiseRoute],
  });
}

/** Settings that {@link coordinatorOptions} gave. */
export function coordinatorFlags(
  input: z.infer<z.ZodObject<ReturnType<typeof coordinatorOptions>>>,
  prefix: CoordinatorPrefix,
  { host }: CommandContext,
): Flags {
  // Paths on the command line start at the working directory, unlike those in a file.
  const path = (value: string | undefined) =>
    value === undefined ? undefined : absolutePath(host, value);
  return given({
    [`${prefix}listen`]: ["--listen", input.listen],
    [`${prefix}public_hosts`]: ["--public-host", input.publicHost],
    [`${prefix}stun_port`]: ["--stun-port", input.stunPort],
    [`${prefix}stun_address`]: ["--stun-address", input.stunAddress],
    [`${prefix}mesh_cidr`]: ["--cidr", input.cidr],
    [`${prefix}data_dir`]: ["--data-dir", path(input.dataDir)],
    [`${prefix}certificate`]: ["--cert", path(input.cert)],
    [`${prefix}certificate_key`]: ["--key", path(input.key)],
  });
}

/** Leaves out what was not given. */
export function given(values: Record<string, [flag: string, value: unknown]>): Flags {
  const entries = Object.entries(values).filter(([, [, value]]) => value !== undefined);
  return Object.fromEntries(entries.map(([path, [flag, value]]) => [path, { flag, value }]));
}
