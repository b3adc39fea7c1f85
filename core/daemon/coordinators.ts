/**
 * Follows which coordinators the mesh has: where the control channel and relay links go, and what
 * the coordinator beside this node is told.
 * @module
 */
import type { ControlEvent } from "../control/client.ts";
import { controlUrls, type CoordinatorUrls, coordinatorUrls } from "../control/coordinators.ts";
import { MAX_COORDINATOR_URLS, type NodeLinks } from "../control/messages.ts";
import type { NetmapView } from "../control/netmap.ts";
import type { MeshLog } from "../state/log.ts";
import { Feeder, type LocalCoordinator } from "./feeder.ts";
import type { Membership } from "./membership.ts";

export interface CoordinatorsOptions {
  readonly membership: Membership;
  readonly log: MeshLog;
  readonly view: NetmapView;
  /** The further coordinator beside this node, or null. */
  readonly local: LocalCoordinator | null;
  /** Takes news for the control channel. */
  readonly emit: (event: ControlEvent) => void;
  /** Takes origins of relays. */
  readonly setRelays: (urls: readonly string[]) => void;
}

/** See the module's doc. */
export class Coordinators {
  readonly #options: CoordinatorsOptions;
  readonly #feeder: Feeder | null;
  #urls: CoordinatorUrls;
  #isClosed = false;

  constructor(options: CoordinatorsOptions) {
    this.#options = options;
    const { local, log, view } = options;
    this.#feeder = local && new Feeder({ coordinator: local, log, view });
    this.#urls = this.#known();
  }

  /** `https://host:port` of all that are known, the configured first. */
  get urls(): readonly string[] {
    return this.#urls.all;
  }

  /** One way to each. */
  get ways(): readonly string[] {
    return this.#urls.relays;
  }

  /** What this node tells others of the coordinator beside it. */
  get announced(): Pick<NodeLinks, "coordinatorUrls"> {
    const { local } = this.#options;
    return local ? { coordinatorUrls: local.urls.slice(0, MAX_COORDINATOR_URLS) } : {};
  }

  /** Tells whom there are, those of the last run included. */
  start(): void {
    this.#tell(this.#urls);
  }

  /** The log or the netmap has changed. */
  changed(): void {
    if (this.#isClosed) return;
    this.#feeder?.changed();
    const before = this.#urls;
    this.#urls = this.#known();
    if (JSON.stringify(before) !== JSON.stringify(this.#urls)) this.#tell(this.#urls);
  }

  close(): void {
    this.#isClosed = true;
    this.#feeder?.close();
  }

  #tell({ all, relays }: CoordinatorUrls): void {
    this.#options.emit({ type: "set-urls", urls: controlUrls(all) });
    this.#options.setRelays(relays);
  }

  #known(): CoordinatorUrls {
    const { membership, log, view, local } = this.#options;
    const { urls: configured, caCertificate, reply } = membership;
    return coordinatorUrls({
      configured,
      local: local?.localUrl ?? null,
      own: reply.id,
      state: log.state,
      // A name that is vouched for by the system's roots alone could be anybody's.
      peers: caCertificate === null ? [] : view.peers.values(),
    });
  }
}
