/**
 * What does a policy document know without saying it? Services and roles that every mesh has.
 * @module
 */
import { type Grant, levelOf, OBJECT_KIND_NAMES, type ObjectKind, type Right } from "./objects.ts";
import { parseTraffic, type Traffic, union } from "./traffic.ts";

const SERVICES: Readonly<Record<string, readonly string[]>> = {
  dns: ["tcp/53", "udp/53"],
  http: ["tcp/80"],
  https: ["tcp/443"],
  // What each node serves to all others: the resolver that docs/names.md describes.
  mesh: ["tcp/53", "udp/53"],
  nfs: ["tcp/2049"],
  ping: ["ping"],
  rdp: ["tcp/3389", "udp/3389"],
  s3: ["tcp/8080", "tcp/9000"],
  smb: ["tcp/445"],
  ssh: ["tcp/22"],
  vnc: ["tcp/5900"],
};

/** Named port sets. A document may add to them, not change them. */
export const BUILTIN_SERVICES: ReadonlyMap<string, Traffic> = new Map(
  Object.entries(SERVICES).map(([name, ports]) =>
    [name, union(...ports.map((text) => parseTraffic(text)!))] as const
  ),
);

/** Rights as data: kind by right, always on all objects of that kind. */
const ROLES: Readonly<Record<string, readonly (readonly [ObjectKind, Right])[]>> = {
  admin: OBJECT_KIND_NAMES.map((kind) => [kind, "admin"] as const),
  "bucket-admin": [["buckets", "admin"]],
  "bucket-read": [["buckets", "read"]],
  "bucket-write": [["buckets", "write"]],
  "nfs-read": [["nfs", "read"]],
  "nfs-write": [["nfs", "write"]],
  "panel-viewer": [["panels", "read"]],
  "share-admin": [["shares", "admin"]],
  "share-read": [["shares", "read"]],
  "share-write": [["shares", "write"]],
};

/** Roles by name. A document may add to them, not change them. */
export const BUILTIN_ROLES: ReadonlyMap<string, readonly Grant[]> = new Map(
  Object.entries(ROLES).map(([name, rights]) =>
    [name, rights.map(([kind, right]) => ({ kind, path: [], level: levelOf(right) }))] as const
  ),
);
