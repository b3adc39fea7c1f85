/**
 * What does this process see of its host: user, home, environment, terminal?
 *
 * It is read once, before permissions are given up. Under sudo the home is the invoking user's, so
 * that `sudo tunnelmesh join` and `tunnelmesh status` mean the same identity and contexts.
 * @module
 */
import type { FileOwner } from "./run_options.ts";

/** A snapshot; nothing in it changes while a command runs. */
export interface Host {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Home of the user, under sudo of the one who called it. */
  readonly home: string;
  readonly isRoot: boolean;
  /** Who shall own files in {@link Host.home}; null when that is this process's user. */
  readonly owner: FileOwner | null;
  /** Whether questions can be asked. */
  readonly isInteractive: boolean;
  /** Width of the terminal; null when standard output is none. */
  readonly columns: number | null;
}

/** Reads the host; what is not permitted counts as absent. */
export function readHost(): Host {
  const env = attempt(() => Deno.env.toObject()) ?? {};
  const uid = attempt(() => Deno.uid()) ?? null;
  const caller = uid === 0 ? callerOf(env) : null;
  return {
    env,
    cwd: attempt(() => Deno.cwd()) ?? "/",
    home: caller?.home ?? env.HOME ?? env.USERPROFILE ?? "/",
    isRoot: uid === 0,
    owner: caller?.owner ?? null,
    isInteractive: Deno.stdin.isTerminal() && Deno.stdout.isTerminal(),
    columns: Deno.stdout.isTerminal() ? attempt(() => Deno.consoleSize().columns) ?? 80 : null,
  };
}

/** The user who ran sudo, or null. */
function callerOf(env: Readonly<Record<string, string>>) {
  const { SUDO_USER: name, SUDO_UID: uid, SUDO_GID: gid } = env;
  if (!name || !/^\d+$/.test(uid ?? "") || !/^\d+$/.test(gid ?? "") || uid === "0") return null;
  const home = homeOf(attempt(() => Deno.readTextFileSync("/etc/passwd")) ?? "", Number(uid));
  return home === null ? null : { home, owner: { uid: Number(uid), gid: Number(gid) } };
}

/** The home directory that passwd(5) text gives to a user id, or null. */
export function homeOf(passwd: string, uid: number): string | null {
  for (const line of passwd.split("\n")) {
    const [, , id, , , home] = line.split(":");
    if (id === String(uid) && home?.startsWith("/")) return home;
  }
  return null;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
