/**
 * The composition root: turns options into running processes. The only place that constructs the
 * daemon and the coordinator.
 *
 * A coordinator is always a process of its own, without the right to load native code; `up`
 * starts it beside the node, watches it, and ends it by closing its standard input.
 * @module
 */
import { loadOrCreateIdentity } from "../core/daemon/identity_file.ts";
import { chooseInterface, refuseClash } from "../core/daemon/interface_choice.ts";
import { createLog } from "../core/daemon/log.ts";
import type { LocalCoordinator } from "../core/daemon/feeder.ts";
import {
  createLogFile,
  loadMembership,
  type Membership,
  membershipOf,
  openLogFile,
  removePeers,
  saveMembership,
} from "../core/daemon/membership.ts";
import { TokenRequest } from "../core/daemon/mesh_report.ts";
import { callCoordinator, readLog, register } from "../core/daemon/registration.ts";
import { NodeService, type ServiceOptions } from "../core/daemon/service.ts";
import { StateDir } from "../core/daemon/state_dir.ts";
import { caPinOf } from "../core/daemon/tls_pin.ts";
import { PATHS } from "../core/control/envelope.ts";
import { errorMessage, MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { decodeToken } from "../core/identity/token.ts";
import { peerNameFrom } from "../core/ids.ts";
import { formatPrefix, parsePrefix, prefixesOverlap } from "../core/ip.ts";
import { isCoordinator } from "../core/state/state.ts";
import type { LogFile } from "../core/platform/log_file.ts";
import type { MeshLog } from "../core/state/log.ts";
import { useProxy } from "../core/platform/proxy.ts";
import { localPrefixes } from "../core/platform/linux/interface.ts";
import { meshInterfaces } from "../core/platform/linux/mesh_interfaces.ts";
import { openClock } from "../core/platform/clocks.ts";
import { systemRandom } from "../core/daemon/system_random.ts";
import { defaultRoute, firewallRoute } from "../transports/portmap/route.ts";
import { PortMapper } from "../transports/portmap/shell.ts";
import { withFreePorts } from "./coordinator_ports.ts";
import { CoordinatorProcess } from "./coordinator_process.ts";
import type { NodeRunOptions, UpRunOptions } from "./run_options.ts";
import { machineAddresses } from "./machine_addresses.ts";
import { openLinks, openRelay } from "./links.ts";
import { nextSignal, untilSignal } from "./signals.ts";
import { staticPeer } from "./static_peers.ts";
import { VERSION } from "./version.ts";

/** How long the line that `up` prints admits machines. */
const INVITATION_MS = 24 * 3_600_000;
/** Ranges tried for a new mesh, in order; the first that no local route uses is taken. */
const CIDR4_CHOICES = ["172.30.0.0/16", "172.29.0.0/16", "10.142.0.0/16", "100.112.0.0/16"];

/** Runs a node until it is stopped. */
export async function runNode(options: NodeRunOptions): Promise<void> {
  requireLinux();
  useProxy(options.paths.proxy);
  using state = await StateDir.open(options.stateDir, { exclusive: true });
  const identity = await identityOf(options);
  using belonging = await belong(options, state, identity);
  await serveNode(options, state, { identity, ...belonging, publicUrl: null });
}

/** Runs a coordinator and a node beside it until they are stopped. */
export async function runUp(options: UpRunOptions): Promise<void> {
  requireLinux();
  const { node, progress } = options;
  useProxy(node.paths.proxy);
  using state = await StateDir.open(node.stateDir, { exclusive: true });
  const identity = await identityOf(node);
  const coordinator = await withFreePorts(state, options.coordinator);
  const cidr4 = coordinator.cidr4 ?? await freeCidr4(coordinator.dataDir, options.usedCidrs);
  // Those who are to join are in none of the meshes that this machine belongs to.
  const publicHosts = coordinator.publicHosts.length > 0
    ? coordinator.publicHosts
    : machineAddresses(meshInterfaces().map(({ name }) => name));
  await using process = await CoordinatorProcess.start({ ...coordinator, cidr4, publicHosts });
  const { urls, localUrl, token } = process.facts;
  progress.listening(urls);
  using belonging = await belong(
    { ...node, coordinatorUrls: [localUrl], token },
    state,
    identity,
  );
  const publicUrl = urls[0]!;
  await serveNode(node, state, { identity, ...belonging, publicUrl }, async (service) => {
    try {
      const invitation = { reusable: true, expiresInMs: INVITATION_MS, note: "tunnelmesh up" };
      const request = TokenRequest.parse(invitation);
      progress.invitation(publicUrl, (await service.mesh.createToken(request)).token);
    } catch (error) {
      // The node runs all the same, and `tunnelmesh token create` makes one later.
      progress.warning(`No invitation was made: ${errorMessage(error)}`);
    }
  });
}

/** Runs a node, and beside it a coordinator that follows the mesh's first one. */
export async function runFollower(options: UpRunOptions): Promise<void> {
  requireLinux();
  const { node, progress } = options;
  useProxy(node.paths.proxy);
  using state = await StateDir.open(node.stateDir, { exclusive: true });
  const identity = await identityOf(node);
  using belonging = await belong(node, state, identity);
  const standing = { identity, ...belonging, publicUrl: null };
  if (!isCoordinator(belonging.logFile.log.state, identity.peerId)) {
    progress.warning(
      "No coordinator runs here: the mesh does not call this node one. " +
        "Join with a token of: tunnelmesh token create --coordinator",
    );
    return await serveNode(node, state, standing);
  }
  const coordinator = await withFreePorts(state, options.coordinator);
  // What a coordinator takes is loaded only where there is one.
  const { Follower } = await import("./follower.ts");
  await using follower = await Follower.start(coordinator, { ...standing, state });
  progress.step(`A coordinator listens beside this node: ${follower.local.urls.join(", ")}`);
  await serveNode(node, state, { ...standing, localCoordinator: follower.local });
}

/** Who a node is, and in which mesh. */
interface Standing {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly logFile: LogFile;
  /** What others reach the coordinator by; null when that is what this node uses. */
  readonly publicUrl: string | null;
  /** The further coordinator beside this node. */
  readonly localCoordinator?: LocalCoordinator;
}

/** Starts the service, tells that it is ready, and undoes everything at the end. */
async function serveNode(
  options: NodeRunOptions,
  state: StateDir,
  standing: Standing,
  whenReady: (service: NodeService) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const { progress } = options;
  const { membership } = standing;
  const interfaceName = await interfaceFor(options, state, membership);
  // One that comes while the system is being changed has to find what undoes that.
  const signal = nextSignal();
  const service = await NodeService.start(
    await serviceOptions(options, state, standing, interfaceName),
  );
  try {
    const { name, addresses, meshId } = membership.reply;
    const coordinatorUrl = membership.urls[0] ?? null;
    progress.ready({ name, addresses, meshId, interfaceName, coordinatorUrl });
    await whenReady(service);
    const reason = await untilSignal(service.stopped, signal);
    progress.stopping(reason === "leave" ? "Left the mesh" : "Stopping");
    await service.close(true);
  } finally {
    await service.close();
  }
}

/** All that a node's service is told. */
async function serviceOptions(
  options: NodeRunOptions,
  state: StateDir,
  { identity, membership, logFile, publicUrl, localCoordinator }: Standing,
  interfaceName: string,
): Promise<ServiceOptions> {
  const { paths, context } = options;
  const offset = Number(Deno.env.get("TUNNELMESH_TEST_CLOCK_OFFSET_MS") ?? 0);
  const rekeyAfterMs = Number(Deno.env.get("TUNNELMESH_TEST_REKEY_AFTER_MS") ?? 0);
  const { caCertificate } = membership;
  const links = { identity, state, caCertificate, sshPort: paths.sshPort, proxy: paths.proxy };
  return {
    version: VERSION,
    identity,
    state,
    membership,
    logFile,
    caPin: await caPinOf(membership.caCertificate),
    interfaceName,
    mtu: options.mtu,
    udpPort: options.udpPort,
    dataPlane: options.dataPlane,
    staticPeers: await Promise.all(options.wireguardPeers.map(staticPeer)),
    filter: options.filter,
    metricsPort: options.metricsPort,
    log: createLog(options.logLevel),
    dnsTtlSeconds: options.dns.ttlSeconds,
    wallTime: () => Date.now() + offset,
    context,
    socketPath: options.socketPath,
    activeContext: options.activeContext,
    publicUrl,
    dns: {
      isEnabled: options.dns.isEnabled,
      listen: options.dns.listen && {
        address: options.dns.listen.host ?? "127.0.0.1",
        port: options.dns.listen.port,
      },
    },
    exits: options.exits,
    proxy: paths.proxy,
    relays: paths.relay,
    preference: paths.preference,
    peerPreferences: paths.peerPreferences,
    openLinks: (wiring) => openLinks(links, wiring),
    openRelay: (url, wiring) => openRelay(links, url, wiring),
    localCoordinator: localCoordinator ?? null,
    openPortMapper: paths.portMapping ? openPortMapper : null,
    ...(rekeyAfterMs > 0 ? { rekeyAfterMs } : {}),
  };
}

function openPortMapper(port: number, onChange: () => void): PortMapper {
  return new PortMapper({
    port,
    random: systemRandom,
    clock: openClock(),
    route: defaultRoute,
    firewallRoute,
    onChange,
  });
}

/** The interface of a node, whose addresses clash with no other mesh of this machine. */
async function interfaceFor(
  options: NodeRunOptions,
  state: StateDir,
  { reply }: Membership,
): Promise<string> {
  const { context, interfaceName: name, isInterfaceFixed: isFixed } = options;
  const chosen = await chooseInterface(state, { context, name, isFixed });
  const ranges = [reply.cidr4, reply.prefix6].flatMap((text) => parsePrefix(text) ?? []);
  refuseClash(context, ranges, meshInterfaces());
  return chosen;
}

async function identityOf(options: NodeRunOptions): Promise<Identity> {
  const { identity, isNew } = await loadOrCreateIdentity(options.identityPath, {
    askPassphrase: () => options.passphrase(),
  });
  if (isNew) options.progress.step(`Made an identity: ${options.identityPath}`);
  return identity;
}

/** A membership and the mesh's log, which is closed with it. */
class Belonging implements Disposable {
  readonly membership: Membership;
  readonly logFile: LogFile;

  constructor(membership: Membership, logFile: LogFile) {
    this.membership = membership;
    this.logFile = logFile;
  }

  [Symbol.dispose](): void {
    this.logFile[Symbol.dispose]();
  }
}

/** The membership to run with: kept from before, or given by registering. */
async function belong(
  options: NodeRunOptions,
  state: StateDir,
  identity: Identity,
): Promise<Belonging> {
  const { progress, aliases } = options;
  const kept = await loadMembership(state);
  const before = kept?.reply.id === identity.peerId ? kept : null;
  const token = options.token === null ? null : decodeToken(options.token);
  const name = options.name ?? before?.reply.name ?? peerNameFrom(Deno.hostname());
  const wantsOther = before !== null &&
    (name !== before.reply.name.replace(/-\d+$/, "") && name !== before.reply.name ||
      aliases.join() !== before.reply.aliases.join());
  const urls = options.coordinatorUrls.length > 0 ? options.coordinatorUrls : before?.urls ?? [];
  // The same address with another mesh: its coordinator was set up anew.
  const isOtherMesh = token !== null && before !== null && token.meshId !== before.reply.meshId;
  const isSameMesh = before !== null && urls.join() === before.urls.join() && !isOtherMesh;
  if (before && isSameMesh && !wantsOther) return await withLog(state, before, identity);
  if (urls.length === 0) {
    throw new MeshError("usage", "Cannot join: no coordinator is known", {
      hint: "Paste the line that `tunnelmesh up` printed on the first machine",
    });
  }
  progress.step(`Registering with ${urls[0]}`);
  try {
    const { reply, caCertificate } = await register({
      urls,
      identity,
      token,
      meshId: isSameMesh ? before.reply.meshId : null,
      userName: userName(),
      wallTime: Date.now,
      caCertificate: isSameMesh || !token ? before?.caCertificate ?? null : null,
      name,
      aliases: [...aliases],
      version: VERSION,
      state,
    });
    const membership = membershipOf(identity, { urls, caCertificate }, reply, before);
    if (kept && kept.reply.meshId !== reply.meshId) await removePeers(state);
    const belonging = await withLog(state, membership, identity);
    await saveMembership(state, membership);
    if (reply.name !== name) {
      progress.warning(`The name "${name}" is taken: this node is "${reply.name}"`);
    }
    return belonging;
  } catch (error) {
    const isAway = error instanceof MeshError && error.code === "coordinator-unreachable";
    if (!isAway || !before || !isSameMesh) throw error;
    progress.warning(`Going on from the last known state: ${errorMessage(error)}`);
    return await withLog(state, before, identity);
  }
}

/**
 * Opens the mesh's log, which a machine that has none reads from the coordinator.
 * @param known The log as joining has shown it.
 */
async function withLog(
  state: StateDir,
  membership: Membership,
  identity: Identity,
  known: MeshLog | null = null,
): Promise<Belonging> {
  const { meshId } = membership.reply;
  const kept = openLogFile(state, meshId);
  if (kept) return new Belonging(membership, kept);
  const log = known ?? await readLog(
    null,
    meshId,
    (from) =>
      callCoordinator(membership, identity, {
        method: "POST",
        path: PATHS.logRead,
        body: { from },
      }),
  );
  return new Belonging(membership, createLogFile(state, log));
}

/** What the first user of a mesh is called: who runs this, unless that is root. */
function userName(): string {
  const name = Deno.env.get("SUDO_USER") ?? Deno.env.get("USER") ?? "";
  return name === "root" || name === "" ? "admin" : name.toLowerCase();
}

/**
 * The first range that clashes with no local route and no mesh of this machine, running or not;
 * null keeps an existing mesh's.
 */
async function freeCidr4(dataDir: string, usedCidrs: readonly string[]): Promise<string | null> {
  try {
    await Deno.stat(`${dataDir}/state.db`);
    return null;
  } catch {
    const meshes = usedCidrs.flatMap((text) => parsePrefix(text) ?? []);
    const local = [...await localPrefixes(), ...meshes];
    const choices = CIDR4_CHOICES.map((text) => parsePrefix(text)!);
    const free = choices.find((choice) => !local.some((used) => prefixesOverlap(choice, used)));
    if (free) return formatPrefix(free);
    throw new MeshError("config-invalid", "Cannot choose addresses: every usual range is routed", {
      hint: "Choose a free IPv4 range with --cidr",
    });
  }
}

/** @throws {MeshError} `unsupported` where there is no data plane yet. */
function requireLinux(): void {
  if (Deno.build.os === "linux") return;
  throw new MeshError("unsupported", `Cannot run a node on ${Deno.build.os}: Linux only so far`, {
    hint: "Run the node on a Linux machine; other commands work here",
  });
}
