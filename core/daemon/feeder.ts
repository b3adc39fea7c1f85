/**
 * Tells the further coordinator beside this node what the node knows: the mesh's log, members'
 * records, and who is online where the leading coordinator says so.
 *
 * Entries go at once, since a revocation may be among them. What is told of peers is told when it
 * changes, a burst of changes as one.
 * @module
 */
import { type FeedMessage, MAX_FED_PEERS } from "../control/feed.ts";
import { MAX_LOG_ENTRIES, type PeerEntry } from "../control/messages.ts";
import type { NetmapView } from "../control/netmap.ts";
import type { MeshLog } from "../state/log.ts";

/** Changes of peers are told this long after the first. */
const SETTLE_MS = 50;

/** A further coordinator on this machine. */
export interface LocalCoordinator {
  /** As other machines reach it; announced to them. */
  readonly urls: readonly string[];
  /** As this machine reaches it. */
  readonly localUrl: string;
  /** How far its copy of the log went when it started last. */
  readonly head: number;
  tell(message: FeedMessage): void;
  /** Is called when it was started again, and has forgotten who is online. */
  onRestart: () => void;
}

export interface FeederOptions {
  readonly coordinator: LocalCoordinator;
  readonly log: MeshLog;
  readonly view: NetmapView;
}

/** See the module's doc. */
export class Feeder {
  readonly #options: FeederOptions;
  /** The number of the last entry that was told. */
  #seq = 0;
  /** What was told of each peer, as text. */
  readonly #told = new Map<string, string>();
  #isAlone = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: FeederOptions) {
    this.#options = options;
    options.coordinator.onRestart = () => this.#restart();
    this.#restart();
  }

  /** The log or the netmap may have changed. */
  changed(): void {
    this.#tellEntries();
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tellPeers();
    }, SETTLE_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#options.coordinator.onRestart = () => {};
  }

  #restart(): void {
    this.#seq = this.#options.coordinator.head;
    this.#told.clear();
    this.#isAlone = false;
    this.changed();
  }

  #tellEntries(): void {
    const { coordinator, log } = this.#options;
    while (this.#seq < log.head.seq) {
      const entries = log.since(this.#seq + 1, MAX_LOG_ENTRIES).map(({ signed }) => signed);
      coordinator.tell({ type: "entries", entries });
      this.#seq += entries.length;
    }
  }

  #tellPeers(): void {
    const { coordinator, view } = this.#options;
    // What a follower says of presence may be what this node told it, or another one told that.
    const isPresence = !view.isFollowers;
    if (!isPresence && !this.#isAlone) {
      coordinator.tell({ type: "alone" });
      this.#told.clear();
    }
    this.#isAlone = !isPresence;
    const news = view.snapshot.peers.filter((peer) => this.#isNews(peer, isPresence));
    for (let at = 0; at < news.length; at += MAX_FED_PEERS) {
      const peers = news.slice(at, at + MAX_FED_PEERS);
      coordinator.tell({ type: "peers", peers, isPresence });
    }
  }

  #isNews(peer: PeerEntry, isPresence: boolean): boolean {
    const { signer, signature } = peer.record;
    const text = isPresence ? JSON.stringify(peer) : signature;
    if (this.#told.get(signer) === text) return false;
    this.#told.set(signer, text);
    return true;
  }
}
