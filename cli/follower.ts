/**
 * A further coordinator beside a node: makes its folder, starts its process and keeps its
 * certificate fresh.
 *
 * The leading coordinator certifies it, so that nodes believe it; everything else it has from this
 * node (`coordinator/follower.ts`, `core/control/feed.ts`).
 * @module
 */
import { X509Certificate } from "node:crypto";
import { type Follower as FollowerFile, FOLLOWER_FILE } from "../coordinator/follower.ts";
import type { FeedMessage } from "../core/control/feed.ts";
import { MAX_COORDINATOR_URLS } from "../core/control/messages.ts";
import type { LocalCoordinator } from "../core/daemon/feeder.ts";
import type { Membership } from "../core/daemon/membership.ts";
import { register, tlsKey } from "../core/daemon/registration.ts";
import { StateDir } from "../core/daemon/state_dir.ts";
import { errorMessage, MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { canonicalIp } from "../core/ip.ts";
import type { LogFile } from "../core/platform/log_file.ts";
import { meshInterfaces } from "../core/platform/linux/mesh_interfaces.ts";
import { CoordinatorProcess } from "./coordinator_process.ts";
import { machineAddresses } from "./machine_addresses.ts";
import type { CoordinatorRunOptions } from "./run_options.ts";
import { VERSION } from "./version.ts";

const LOG_FILE = "mesh.log";
const KEY_FILE = "tls.key";
const CERTIFICATE_FILE = "tls.crt";
/** What another mesh left in the folder. */
const OF_ONE_MESH = [
  "state.db",
  "state.db-wal",
  "state.db-shm",
  LOG_FILE,
  "coordinator.key",
  KEY_FILE,
  CERTIFICATE_FILE,
  "ca.crt",
];
const DAY_MS = 86_400_000;
/** A certificate that ends sooner is made anew. */
const RENEW_MS = 90 * DAY_MS;
/** How often that is looked at. */
const LOOK_MS = DAY_MS / 2;

/** The node beside it. */
interface Beside {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly logFile: LogFile;
  readonly state: StateDir;
}

/** A running further coordinator; dispose of it to stop it. */
export class Follower implements AsyncDisposable {
  readonly #process: CoordinatorProcess;
  readonly #timer: ReturnType<typeof setInterval>;

  /** @throws {MeshError} when it has no certificate and the leading coordinator gives none. */
  static async start(options: CoordinatorRunOptions, beside: Beside): Promise<Follower> {
    const { meshId, cidr4, caCertificate } = beside.membership.reply;
    // Others reach it by none of the addresses that this machine has in meshes.
    const publicHosts = options.publicHosts.length > 0
      ? options.publicHosts
      : machineAddresses(meshInterfaces().map(({ name }) => name));
    const folder = await StateDir.open(options.dataDir);
    const leader = new URL(beside.membership.urls[0]!).origin;
    await keepFolder(folder, { meshId, cidr4, leader }, beside);
    await folder.writeText("ca.crt", caCertificate);
    const hosts = [...new Set([...publicHosts, "localhost", "127.0.0.1"])];
    const certify = async () => {
      if (!options.certificate) await keepCertificate(folder, hosts, beside);
    };
    await certify();
    const process = await CoordinatorProcess.start({ ...options, publicHosts, cidr4: null });
    return new Follower(process, () => {
      certify().catch((error) => {
        options.progress.warning(`The coordinator's certificate: ${errorMessage(error)}`);
      });
    });
  }

  private constructor(process: CoordinatorProcess, look: () => void) {
    this.#process = process;
    this.#timer = setInterval(look, LOOK_MS);
  }

  /** What the node beside it needs. */
  get local(): LocalCoordinator {
    const process = this.#process;
    return {
      urls: process.facts.urls.slice(0, MAX_COORDINATOR_URLS).map((url) => new URL(url).origin),
      localUrl: process.facts.localUrl,
      get head() {
        return process.facts.head;
      },
      tell: (message: FeedMessage) => process.feed(message),
      set onRestart(callback: () => void) {
        process.onRestart = callback;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#process[Symbol.asyncDispose]();
  }
}

/** Frees the folder of a coordinator whose node has left the mesh, for a mesh of its own. */
export async function removeFollower(dataDir: string): Promise<void> {
  const folder = await StateDir.open(dataDir);
  if (await folder.readText(FOLLOWER_FILE) === null) return;
  for (const name of OF_ONE_MESH) await folder.remove(name);
  // Last: until then the folder is a follower's.
  await folder.remove(FOLLOWER_FILE);
}

/** Makes a new folder, or goes on with one of the same mesh. */
async function keepFolder(
  folder: StateDir,
  facts: FollowerFile,
  { state }: Beside,
): Promise<void> {
  const before = await folder.readText(FOLLOWER_FILE);
  if (before === null || JSON.parse(before).meshId !== facts.meshId) {
    for (const name of OF_ONE_MESH) await folder.remove(name);
  }
  // Entries that are missing in the copy come when it runs.
  if (await folder.readText(LOG_FILE) === null) {
    await Deno.copyFile(state.pathOf(LOG_FILE), folder.pathOf(LOG_FILE));
  }
  // Last: before it the folder is not a follower's.
  await folder.writeJson(FOLLOWER_FILE, facts);
}

/** Has the leading coordinator certify the server's key, unless that was done. */
async function keepCertificate(
  folder: StateDir,
  hosts: readonly string[],
  { identity, membership, state }: Beside,
): Promise<void> {
  const { urls, caCertificate, reply: { name, aliases } } = membership;
  const kept = await folder.readText(CERTIFICATE_FILE);
  const left = kept === null ? 0 : lifeLeft(kept, hosts);
  if (left > RENEW_MS) return;
  const { publicKey } = await tlsKey(folder, KEY_FILE);
  try {
    const { reply } = await register({
      urls,
      identity,
      token: null,
      meshId: membership.reply.meshId,
      userName: "",
      wallTime: Date.now,
      caCertificate,
      name,
      aliases: [...aliases],
      version: VERSION,
      state,
      coordinator: { tlsPublicKey: publicKey, hosts: [...hosts] },
    });
    if (!reply.coordinatorCertificate) {
      throw new MeshError("forbidden", "Cannot run a coordinator: it was not certified");
    }
    await folder.writeText(CERTIFICATE_FILE, reply.coordinatorCertificate);
  } catch (error) {
    if (left <= 0) throw error;
    // It is good for now, and this is tried again.
  }
}

/** How long a certificate is still good for all of `hosts`, in milliseconds. */
function lifeLeft(pem: string, hosts: readonly string[]): number {
  const certificate = new X509Certificate(pem);
  const names = (certificate.subjectAltName ?? "").split(", ")
    .map((name) => name.replace(/^(DNS|IP Address):/, ""))
    .map((name) => canonicalIp(name) ?? name);
  const isGood = hosts.every((host) => names.includes(canonicalIp(host) ?? host));
  return isGood ? certificate.validToDate.getTime() - Date.now() : 0;
}
