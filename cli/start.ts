/**
 * Starts the long-running processes: which of node, coordinator or both a machine needs, and what
 * is remembered of it.
 * @module
 */
import type { PeerConfig } from "../core/config/config.ts";
import type { CommandContext, Permissions } from "./command.ts";
import type { LoadedConfig } from "./config_files.ts";
import type { Contexts } from "./contexts.ts";
import { parseMarker, RESOLV_CONF } from "../core/platform/linux/resolv_conf.ts";
import { exists, readIfPresent } from "./files.ts";
import { directoryOf } from "./paths.ts";
import { createProgress } from "./progress.ts";
import { resolveCoordinator, resolveNode, type Surroundings } from "./resolve_options.ts";
import type { CoordinatorRunOptions, NodeRunOptions } from "./run_options.ts";

/** What a process with a node may do: open the network, the interface and the system's settings. */
export const NODE_PERMISSIONS: Permissions = {
  read: ["$config", "$contexts", "$identity", "$state", "$data", "$system"],
  write: ["$contexts", "$identity", "$state", "$data", "$system"],
  net: true,
  env: true,
  sys: true,
  run: true,
  ffi: true,
};

/** What a coordinator may do; it never has `ffi`. */
export const COORDINATOR_PERMISSIONS: Permissions = {
  read: ["$config", "$data"],
  write: ["$data"],
  net: true,
  sys: true,
};

/** What resolving options needs; a node that is ready saves its context. */
export async function surroundingsOf(
  context: CommandContext,
  node: () => { options: NodeRunOptions; config: string | null } | null,
): Promise<Surroundings> {
  const { host, globals, out } = context;
  const progress = createProgress(out, async (facts) => {
    const ready = node();
    if (ready === null) return;
    const { options, config } = ready;
    const { Contexts } = await import("./contexts.ts");
    // Read again: another process may have changed it since this one started.
    Contexts.load(host).put(options.context, {
      server: facts.coordinatorUrl ?? options.coordinatorUrls[0] ?? null,
      config,
      identity: options.identityPath,
      stateDir: options.stateDir,
      socket: options.socketPath,
      node: facts.name,
    });
  });
  const contexts = await context.contexts();
  const files = await context.config();
  return { host, globals, contexts, files, progress };
}

/** Under sudo a key that is made in the user's home has to be the user's. */
async function makeIdentity({ identityPath, owner, progress }: NodeRunOptions): Promise<void> {
  if (owner === null || exists(identityPath)) return;
  const { ensureIdentity } = await import("./identity_file.ts");
  await ensureIdentity(identityPath, owner);
  progress.step(`Made an identity: ${identityPath}`);
}

/** Whether the state directory holds a mesh that the node can reconnect to. */
export function isMember(node: NodeRunOptions): boolean {
  return exists(`${node.stateDir}/mesh.json`);
}

/** Whether that mesh's coordinator is this machine's, even if its data is gone. */
function isOwnMember(node: NodeRunOptions): boolean {
  const text = readIfPresent(`${node.stateDir}/mesh.json`) ?? "";
  return /"urls": \[\s*"https:\/\/(127\.|\[::1\])/.test(text);
}

/** What is known of the machine's other daemons before permissions are given up. */
export interface Others {
  /** Where daemons that were killed may have left a copy of resolv.conf. */
  readonly stateDirs: readonly string[];
  /** IPv4 ranges of the meshes that other contexts belong to. */
  readonly usedCidrs: readonly string[];
}

/** A node, and the coordinator beside it where it needs one, ready to run. */
export interface PreparedNode extends Others {
  readonly node: NodeRunOptions;
  readonly coordinator: CoordinatorRunOptions | null;
  /** Whether the coordinator follows one elsewhere, to which this node belongs. */
  readonly isFollower: boolean;
}

/** Reads all that the node of a configuration needs; changes nothing. */
export async function prepareNode(
  loaded: LoadedConfig<PeerConfig>,
  context: CommandContext,
): Promise<PreparedNode> {
  let node: NodeRunOptions | null = null;
  const surroundings = await surroundingsOf(
    context,
    () => node && { options: node, config: loaded.path },
  );
  node = resolveNode(loaded, surroundings);
  const known = surroundings.contexts.entry(node.context).server;
  if (node.coordinatorUrls.length === 0 && known !== null && !isMember(node)) {
    node = { ...node, coordinatorUrls: [known] };
  }
  const coordinator = resolveCoordinator(
    { ...loaded, config: loaded.config.coordinator },
    node.logLevel,
    surroundings,
  );
  const hasFollowed = exists(`${coordinator.dataDir}/follower.json`);
  const ownsMesh = exists(`${coordinator.dataDir}/state.db`) && !hasFollowed || isOwnMember(node);
  const isElsewhere = node.coordinatorUrls.length > 0 || (isMember(node) && !ownsMesh);
  const isFollower = isElsewhere && (loaded.config.coordinator.isEnabled || hasFollowed);
  return {
    node,
    coordinator: isElsewhere && !isFollower ? null : coordinator,
    isFollower,
    ...othersOf(surroundings.contexts, node.context),
  };
}

/** What the context `name` has to know of the others. */
export function othersOf(contexts: Contexts, name: string): Others {
  return { stateDirs: stateDirsOf(contexts), usedCidrs: cidrsOfOthers(contexts, name) };
}

/** State directories of all contexts, and of the daemon that resolv.conf names. */
function stateDirsOf(contexts: Contexts): string[] {
  const named = parseMarker(readIfPresent(RESOLV_CONF) ?? "")?.backup ?? "";
  return [
    ...contexts.list().flatMap(({ stateDir }) => stateDir ?? []),
    ...named.startsWith("/") ? [directoryOf(named)] : [],
  ];
}

/** Ranges of the other contexts' meshes, as far as this user may read them. */
export function cidrsOfOthers(contexts: Contexts, name: string): string[] {
  const others = contexts.list().filter((each) => each.name !== name && each.stateDir !== null);
  return others.flatMap(({ stateDir }) => {
    const path = `${stateDir}/mesh.json`;
    const text = exists(path) ? readIfPresent(path) ?? "" : "";
    return /"cidr4": "([^"]+)"/.exec(text)?.[1] ?? [];
  });
}

/** Runs until it is stopped. */
export async function runPrepared(prepared: PreparedNode): Promise<void> {
  const { node, coordinator, isFollower, usedCidrs } = prepared;
  await makeIdentity(node);
  const { runFollower, runNode, runUp } = await import("./compose.ts");
  if (coordinator === null) return await runNode(node);
  const { context, logLevel, progress } = node;
  if (!isFollower) {
    const { removeFollower } = await import("./follower.ts");
    await removeFollower(coordinator.dataDir);
  }
  const run = isFollower ? runFollower : runUp;
  await run({ context, logLevel, progress, node, coordinator, usedCidrs });
}
