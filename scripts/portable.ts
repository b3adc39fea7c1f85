/**
 * The portable form: one shell script that carries the Deno runtime and the bundled program.
 *
 * Layout: {@link HEADER_BYTES} of shell, then a gzipped tar of `deno`, `app.js` and `worker.js`. The
 * first start unpacks it into a folder named after its hash; every start then replaces the shell by
 * the runtime (`exec`), so the process keeps its number and gets its signals.
 * @module
 */
import { gzipSync } from "node:zlib";
import { WIDE_FLAGS } from "../cli/permissions.ts";
import type { BundledFile } from "./bundle.ts";
import { digest } from "./runtimes.ts";
import { writeTar } from "./tar.ts";

/** The payload begins here; the script is filled up with comment to this length. */
export const HEADER_BYTES = 4096;

/** How the runtime is started; `deno.json` does not travel along, so its `unstable` is repeated. */
export const RUNTIME_FLAGS: readonly string[] = [
  "--no-config",
  "--no-lock",
  "--cached-only",
  "--no-prompt",
  "--unstable-net",
  "--unstable-worker-options",
  ...WIDE_FLAGS,
];

/** What goes into a portable file. */
export interface PortableParts {
  readonly version: string;
  readonly runtime: Uint8Array;
  readonly files: readonly BundledFile[];
  /** gzip level, 1 to 9; 9 when not given. */
  readonly level?: number;
}

/** Builds the bytes of the executable file. */
export function buildPortable(parts: PortableParts): Uint8Array {
  const archive = writeTar([
    { name: "deno", mode: 0o755, bytes: parts.runtime },
    ...parts.files.map(({ name, text }) => ({
      name,
      mode: 0o644,
      bytes: new TextEncoder().encode(text),
    })),
  ]);
  const payload = gzipSync(archive, { level: parts.level ?? 9 });
  const header = new TextEncoder().encode(
    portableHeader(parts.version, digest("sha256", payload, "hex").slice(0, 32)),
  );
  const out = new Uint8Array(HEADER_BYTES + payload.length).fill(0x23, 0, HEADER_BYTES);
  if (header.length > HEADER_BYTES) throw new RangeError("Cannot build: the header is too long");
  out.set(header);
  out.set(payload, HEADER_BYTES);
  return out;
}

/**
 * The shell part. It unpacks into a folder of its own and renames it, so that a killed or a second
 * first start leaves nothing half done; it refuses a folder that another user could write.
 */
function portableHeader(version: string, hash: string): string {
  return `#!/bin/sh
# TunnelMesh ${version}: runtime and program in one file. Run it; it needs no installation.
set -eu
fail() { echo "tunnelmesh: $1" >&2; exit 1; }
# Only this user may write the folder: what lies in it is executed.
safe() {
  [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] || return 1
  case $(ls -ldn "$1") in ?????w*|????????w*) return 1 ;; esac
}
case $0 in /*) self=$0 ;; *) self=$PWD/$0 ;; esac
if [ "$(id -u)" = 0 ]; then
  home=/var/lib/tunnelmesh
  umask 022
else
  [ -n "\${XDG_CACHE_HOME:-\${HOME:-}}" ] || fail "Cannot unpack: HOME is not set"
  home=\${XDG_CACHE_HOME:-$HOME/.cache}/tunnelmesh
  umask 077
fi
base=$home/runtime
dir=$base/${hash}
mkdir -p "$base" || fail "Cannot unpack into $base"
safe "$home" && safe "$base" || fail "Cannot unpack: other users may write $home or $base"
if [ ! -e "$dir" ]; then
  new=$base/.new.$$
  trap 'rm -rf "$new"' EXIT
  rm -rf "$new"
  mkdir "$new" || fail "Cannot unpack into $base"
  tail -c +${
    HEADER_BYTES + 1
  } "$self" | tar -xzf - -C "$new" || fail "Cannot unpack $self: damaged or no room"
  sync
  mv "$new" "$dir" 2>/dev/null || [ -e "$dir" ] || fail "Cannot unpack into $base"
  # Another first start was quicker: mv has put ours inside.
  rm -rf "$dir/.new.$$"
  trap - EXIT
fi
safe "$dir" || fail "Cannot start: other users may write $dir"
TUNNELMESH_EXECUTABLE=$self DENO_DIR=$dir/cache DENO_NO_UPDATE_CHECK=1
export TUNNELMESH_EXECUTABLE DENO_DIR DENO_NO_UPDATE_CHECK
exec "$dir/deno" run ${RUNTIME_FLAGS.join(" ")} "$dir/app.js" "$@"
`;
}
