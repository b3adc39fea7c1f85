/**
 * What may a command do? Turns its declaration into revocations at run time and into the named
 * permission sets of `deno.json`.
 *
 * Deno revokes by kind: a command that declares some of a kind keeps what the process was started
 * with of it, so a narrower start (`deno run -P=status`) is the finer limit.
 * @module
 */
import type { Permissions, Place } from "./command.ts";

/** Every kind of permission that Deno has, in the order of its documentation. */
const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;

/** Gives up every kind of permission that a command does not declare; there is no way back. */
export function revokeUndeclared(permissions: Permissions): void {
  for (const kind of KINDS) {
    if (kind === "import" || permissions[kind] === undefined) {
      Deno.permissions.revokeSync({ name: kind });
    }
  }
}

/**
 * Paths of a place for a machine where root runs TunnelMesh: a fixed permission set can name neither
 * another user's home nor the working directory.
 */
const PATHS: Readonly<Record<Place, readonly string[]>> = {
  "$config": ["/etc/tunnelmesh", "/root/.tunnelmesh"],
  "$control": ["/run/tunnelmesh"],
  "$data": ["/var/lib/tunnelmesh/coordinator"],
  "$identity": ["/root/.tunnelmesh"],
  "$state": ["/var/lib/tunnelmesh", "/run/tunnelmesh"],
  "$system": ["/dev/net/tun", "/etc", "/proc", "/run", "/sys", "/tmp"],
};

/** What the program itself does before a command runs: it reads contexts, environment and user. */
const BASE: Permissions = { read: ["$config"], env: true, sys: true };

/** One named set, in the form that `deno.json` takes. */
export type PermissionSet = Readonly<Record<string, true | readonly string[]>>;

/** The named set of a command; kinds that are absent are denied. */
export function permissionSetOf(permissions: Permissions): PermissionSet {
  const set: Record<string, true | readonly string[]> = {};
  for (const kind of KINDS) {
    if (kind === "import") continue;
    const merged = merge(BASE[kind], permissions[kind]);
    if (merged === undefined) continue;
    set[kind] = merged === true ? true : pathsOf(kind, merged);
  }
  return set;
}

/** The least set that allows what each of `sets` does, for the compiled program. */
export function unionOf(sets: readonly PermissionSet[]): PermissionSet {
  const union: Record<string, true | readonly string[]> = {};
  for (const kind of KINDS) {
    const merged = sets.reduce<true | readonly string[] | undefined>(
      (all, set) => merge(all, set[kind]),
      undefined,
    );
    if (merged !== undefined) union[kind] = merged;
  }
  return union;
}

type Grant = true | readonly string[] | undefined;

function merge(a: Grant, b: Grant): Grant {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return a === true || b === true ? true : [...new Set([...a, ...b])].sort();
}

function pathsOf(kind: string, places: readonly string[]): string[] {
  // A request through a socket needs leave for the socket and for the host in its URL.
  if (kind === "net") return ["localhost:80", "unix:/run/tunnelmesh/default.sock"];
  const paths = new Set(places.flatMap((place) => PATHS[place as Place] ?? [place]));
  const isCovered = (path: string) => [...paths].some((other) => path.startsWith(`${other}/`));
  return [...paths].filter((path) => !isCovered(path)).sort();
}
