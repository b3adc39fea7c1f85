/**
 * The list of commands. Each is loaded only when it runs, or when help needs all of them.
 * @module
 */
import type { Command } from "./command.ts";

/** Commands by name, in the order of help; adding one is one file and one line. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  up: async () => (await import("./commands/up.ts")).up,
  join: async () => (await import("./commands/join.ts")).join,
  leave: async () => (await import("./commands/leave.ts")).leave,
  serve: async () => (await import("./commands/serve.ts")).serve,
  status: async () => (await import("./commands/status.ts")).status,
  peers: async () => (await import("./commands/peers.ts")).peers,
  resolve: async () => (await import("./commands/resolve.ts")).resolve,
  ping: async () => (await import("./commands/ping.ts")).ping,
  why: async () => (await import("./commands/why.ts")).why,
  netcheck: async () => (await import("./commands/netcheck.ts")).netcheck,
  transport: async () => (await import("./commands/transport.ts")).transport,
  filter: async () => (await import("./commands/filter.ts")).filter,
  "exit-node": async () => (await import("./commands/exit_node.ts")).exitNode,
  route: async () => (await import("./commands/route.ts")).route,
  bugreport: async () => (await import("./commands/bugreport.ts")).bugreport,
  policy: async () => (await import("./commands/policy.ts")).policy,
  group: async () => (await import("./commands/group.ts")).groups,
  role: async () => (await import("./commands/role.ts")).role,
  bind: async () => (await import("./commands/bind.ts")).bind,
  user: async () => (await import("./commands/user.ts")).user,
  node: async () => (await import("./commands/node.ts")).node,
  audit: async () => (await import("./commands/audit.ts")).audit,
  token: async () => (await import("./commands/token.ts")).token,
  dns: async () => (await import("./commands/dns.ts")).dns,
  init: async () => (await import("./commands/init.ts")).init,
  context: async () => (await import("./commands/context.ts")).context,
  completion: async () => (await import("./commands/completion.ts")).completion,
  version: async () => (await import("./commands/version.ts")).version,
  __complete: async () => (await import("./commands/complete.ts")).complete,
};

/** Loads all commands, hidden ones included. */
export function loadCommands(): Promise<Command[]> {
  return Promise.all(Object.values(COMMANDS).map((load) => load()));
}

/** A command and the words that call it, e.g. `tunnelmesh token create`. */
export interface CommandPath {
  readonly path: string;
  readonly command: Command;
}

/** Every command that is shown and can run, groups flattened. */
export async function visibleCommands(): Promise<CommandPath[]> {
  return (await allCommands()).filter(({ command }) => !command.hidden);
}

/** Every command that can run, groups flattened, hidden ones included. */
export async function allCommands(): Promise<CommandPath[]> {
  const flatten = (command: Command, parent: string): CommandPath[] => {
    const path = `${parent} ${command.name}`;
    if (command.subcommands.length === 0) return [{ path, command }];
    return command.subcommands.flatMap((child) => flatten(child, path));
  };
  return (await loadCommands()).flatMap((command) => flatten(command, "tunnelmesh"));
}
