/**
 * Which settings are there? The peer file and the server file, strict: a key that is not here is an
 * error. Validation, environment variables, the commented example and the reference page come from
 * the descriptions beside the values.
 * @module
 */
import { z } from "zod";
import { coordinatorFields } from "./coordinator_fields.ts";
import * as field from "./fields.ts";
import { peerFields } from "./peer_fields.ts";
import { LOG_LEVELS } from "./config.ts";

const WIREGUARD = "the WireGuard concentrator";

/** A node's file: `~/.tunnelmesh/config.yaml`, `./tunnelmesh.yaml`, `./peer.yaml`. */
export const PeerFile = z.strictObject({
  ...peerFields,
  mesh_cidr: field.meshCidr().optional().meta({
    description: "Old spelling of coordinator.mesh_cidr",
    aliasFor: "coordinator.mesh_cidr",
  }),
  coordinator: z.strictObject({
    enabled: z.boolean().default(false).meta({
      description: "Run a coordinator beside this node: the mesh's own, or a further one of " +
        "the mesh that the node joins",
    }),
    ...coordinatorFields,
  }).optional().meta({ description: "A coordinator beside this node" }),
});
export type PeerFile = z.infer<typeof PeerFile>;

/** A coordinator's file: `./server.yaml`, `./tunnelmesh-server.yaml`. */
export const ServerFile = z.strictObject({
  ...coordinatorFields,
  log_level: z.enum(LOG_LEVELS).default("info").meta({ description: "How much is logged" }),
  join_mesh: z.strictObject(peerFields).optional().meta({
    description: "A node beside this coordinator, with the settings of a peer file",
  }),
  domain_suffix: peerFields.domain_suffix,
  auth_token: field.unavailable(
    field.text().optional(),
    "one token shared by all nodes",
    "Shared token; `tunnelmesh token create` makes join tokens",
  ),
  wireguard: z.strictObject({
    enabled: field.unavailable(z.boolean().default(false), WIREGUARD, "Manage stock clients"),
    endpoint: field.unavailable(
      z.string().optional(),
      WIREGUARD,
      "HOST:PORT written into clients' files",
    ),
  }).optional().meta({ description: "Stock WireGuard clients" }),
});
export type ServerFile = z.infer<typeof ServerFile>;

/** What JSON Schema and our own metadata say about one setting. */
export interface SettingNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly SettingNode[];
  readonly properties?: Readonly<Record<string, SettingNode>>;
  readonly required?: readonly string[];
  readonly items?: SettingNode;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly unit?: string;
  readonly example?: unknown;
  readonly secret?: boolean;
  readonly unavailable?: string;
  readonly aliasFor?: string;
  readonly env?: string;
  readonly whenAbsent?: string;
}

/** One setting and its dotted path, e.g. `tun.mtu`. */
export interface Setting {
  readonly path: string;
  readonly node: SettingNode;
}

/** The tree of a file's settings. */
export function schemaTree(schema: z.ZodObject): SettingNode {
  return z.toJSONSchema(schema, { io: "input" }) as SettingNode;
}

/** The part of TunnelMesh that all settings below `node` need and this version lacks, or null. */
export function missingPart(node: SettingNode): string | null {
  if (!node.properties) return node.unavailable ?? null;
  const parts = new Set(Object.values(node.properties).map(missingPart));
  return parts.size === 1 ? [...parts][0]! : null;
}

/** Every setting that is a value and not a part, in the file's order. */
export function settingsOf(schema: z.ZodObject): Setting[] {
  const found: Setting[] = [];
  const visit = (node: SettingNode, path: string) => {
    if (!node.properties) return void found.push({ path, node });
    for (const [key, child] of Object.entries(node.properties)) {
      visit(child, path ? `${path}.${key}` : key);
    }
  };
  visit(schemaTree(schema), "");
  return found;
}
