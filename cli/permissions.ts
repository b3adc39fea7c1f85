/**
 * What may a command do? Turns its declaration into revocations at run time and into the named
 * permission sets of `deno.json`.
 *
 * Deno takes back a kind of permission as a whole, or one grant of its list. Hence the program is
 * started with the list `/` for files ({@link WIDE_SET}): the paths of a command are added to that
 * list, then `/` is taken back. Started with `--allow-all`, only whole kinds can be given up.
 * @module
 */
import type { Permissions, Place, PlaceOrPath } from "./command.ts";

/** Every kind of permission that Deno has, in the order of its documentation. */
const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;

/** The kinds that a list of paths limits. */
const FILE_KINDS = ["read", "write"] as const;
type FileKind = typeof FILE_KINDS[number];

/** Paths of a place, for this user and command line. */
export type PathsOf = (place: Place) => readonly string[] | Promise<readonly string[]>;

/** Gives up everything that a command does not declare; there is no way back. */
export async function revokeUndeclared(permissions: Permissions, pathsOf: PathsOf): Promise<void> {
  const pathsIn = async (grant: readonly PlaceOrPath[]) =>
    (await Promise.all(grant.map((each) => isPlace(each) ? pathsOf(each) : [each]))).flat();
  // Looking for paths takes permissions, so all are looked for first.
  const kept: Record<string, Grant> = { ...permissions };
  for (const kind of FILE_KINDS) {
    const grant = permissions[kind];
    if (grant !== undefined && grant !== true) kept[kind] = await pathsIn(grant);
  }
  for (const name of KINDS) {
    const grant = kept[name];
    if (grant === undefined) Deno.permissions.revokeSync({ name });
    else if (grant !== true && isFileKind(name)) narrow(name, grant);
  }
}

/** Keeps what the process may do with `paths`, and gives up the grant of every path. */
function narrow(name: FileKind, paths: readonly string[]): void {
  for (const path of paths) {
    // What is granted already is added to the list without a question to the user.
    const { state } = Deno.permissions.querySync({ name, path });
    if (state === "granted") Deno.permissions.requestSync({ name, path });
  }
  Deno.permissions.revokeSync({ name, path: "/" });
}

function isFileKind(kind: typeof KINDS[number]): kind is FileKind {
  return FILE_KINDS.some((each) => each === kind);
}

function isPlace(text: PlaceOrPath): text is Place {
  return text.startsWith("$");
}

/** One named set, in the form that `deno.json` takes. */
export type PermissionSet = Readonly<Record<string, true | readonly string[]>>;

/** What the program is started with, before it knows which command it runs. */
export const WIDE_SET: PermissionSet = {
  read: ["/"],
  write: ["/"],
  net: true,
  env: true,
  sys: true,
  run: true,
  ffi: true,
};

/** The same as flags of the runtime. */
export const WIDE_FLAGS: readonly string[] = Object.entries(WIDE_SET).map(([kind, grant]) =>
  grant === true ? `--allow-${kind}` : `--allow-${kind}=${grant.join(",")}`
);

/**
 * Paths of a place for a machine where root runs TunnelMesh: a fixed permission set can name neither
 * another user's home nor the working directory.
 */
const PATHS: Readonly<Record<Place | "$control", readonly string[]>> = {
  "$config": ["/etc/tunnelmesh", "/root/.tunnelmesh"],
  "$contexts": ["/root/.tunnelmesh"],
  "$control": ["/run/tunnelmesh"],
  "$data": ["/var/lib/tunnelmesh/coordinator"],
  "$identity": ["/root/.tunnelmesh"],
  "$state": ["/var/lib/tunnelmesh", "/run/tunnelmesh"],
  "$system": ["/etc", "/run", "/usr/lib/systemd", "/var/run"],
};

/** What the program itself does before a command runs: it reads contexts, environment and user. */
const BASE: PermissionSet = { read: ["$config"], env: true, sys: true };

/** What opening the daemon's socket takes. */
const CONTROL: PermissionSet = {
  read: ["$control"],
  write: ["$control"],
  net: ["unix:/run/tunnelmesh/default.sock", "unix:/run/tunnelmesh/default.ro.sock"],
};

/** The named set of a command; kinds that are absent are denied. */
export function permissionSetOf({ opens, ...permissions }: Permissions): PermissionSet {
  const set: Record<string, true | readonly string[]> = {};
  const opening = opens?.includes("$control") ? CONTROL : {};
  for (const kind of KINDS) {
    if (kind === "import") continue;
    const merged = merge(merge(BASE[kind], opening[kind]), permissions[kind]);
    if (merged === undefined) continue;
    set[kind] = merged === true || !isFileKind(kind) ? merged : fixedPaths(merged);
  }
  return set;
}

type Grant = true | readonly string[] | undefined;

function merge(a: Grant, b: Grant): Grant {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return a === true || b === true ? true : [...new Set([...a, ...b])].sort();
}

function fixedPaths(places: readonly string[]): string[] {
  const paths = new Set(places.flatMap((place) => PATHS[place as Place] ?? [place]));
  const isCovered = (path: string) => [...paths].some((other) => path.startsWith(`${other}/`));
  return [...paths].filter((path) => !isCovered(path)).sort();
}
