/**
 * Between the session machines and the packet path: effects become table entries, flags that
 * workers raised become events. Pure, so that the simulator crosses the same bridge as the daemon.
 * @module
 */
import { type Millis, NEVER } from "../machine.ts";
import type { DeviceEffect, DeviceEvent } from "../wireguard/device.ts";
import { FLAG } from "./layout.ts";
import type { PeerTable } from "./table.ts";

/** Data flags stay set this long, so that a stream costs a few events per second, not millions. */
const DATA_FLAG_MS = 250;
const DATA_FLAGS = FLAG.dataSent | FLAG.dataReceived;
const URGENT_FLAGS = FLAG.keepaliveReceived | FLAG.keepaliveSent | FLAG.sessionWanted |
  FLAG.roamed | FLAG.counterLimit | FLAG.keypairUsed;

/** What was told of a peer's stream, until its data flags are cleared. */
interface Told {
  flags: number;
  sent: number;
  received: number;
  clearAt: Millis;
}

/** Carries effects down and events up for the peers that the table holds. */
export class DataPlaneBridge {
  readonly #table: PeerTable;
  readonly #told = new Map<number, Told>();

  constructor(table: PeerTable) {
    this.#table = table;
  }

  /** When {@link collect} must run next even if no worker asks for it. */
  get deadline(): Millis {
    let earliest = NEVER;
    for (const { clearAt } of this.#told.values()) earliest = Math.min(earliest, clearAt);
    return earliest;
  }

  /** Performs an effect on the table; false when it is none of the table's. */
  perform(effect: DeviceEffect): boolean {
    switch (effect.type) {
      case "install-keypair":
        this.#table.install(effect.keypair);
        if (effect.keypair.role === "current") {
          this.#table.promote(effect.keypair.peer, effect.keypair.slot);
        }
        return true;
      case "promote-keypair":
        this.#table.promote(effect.peer, effect.slot);
        return true;
      case "forget-keypair":
        this.#table.forget(effect.peer, effect.slot);
        return true;
      case "send-keepalive":
        this.#table.sendKeepalive(effect.peer);
        return true;
      case "use-endpoint":
        this.#table.setEndpoint(effect.peer, effect.endpoint);
        return true;
      default:
        return false;
    }
  }

  /** What the workers raised for `peers` since the last call. */
  collect(peers: Iterable<number>, now: Millis): DeviceEvent[] {
    const events: DeviceEvent[] = [];
    for (const peer of peers) {
      if (this.#table.flags(peer) !== 0) this.#urgent(peer, events);
      const told = this.#told.get(peer);
      const data = this.#table.flags(peer) & DATA_FLAGS;
      if (told && now >= told.clearAt) this.#clear(peer, told, events);
      else if ((data & ~(told?.flags ?? 0)) !== 0) this.#tell(peer, data, now, events);
    }
    return events;
  }

  /** Forgets a removed peer. */
  remove(peer: number): void {
    this.#told.delete(peer);
  }

  #urgent(peer: number, events: DeviceEvent[]): void {
    const flags = this.#table.takeFlags(peer, URGENT_FLAGS);
    if (flags & FLAG.keypairUsed) {
      for (const localIndex of this.#table.usedKeypairs(peer)) {
        events.push({ type: "keypair-used", localIndex });
      }
    }
    if (flags & FLAG.roamed) {
      const endpoint = this.#table.endpoint(peer);
      if (endpoint) events.push({ type: "roamed", peer, endpoint });
    }
    if (flags & FLAG.keepaliveReceived) events.push({ type: "keepalive-received", peer });
    if (flags & FLAG.keepaliveSent) events.push({ type: "keepalive-sent", peer });
    if (flags & FLAG.sessionWanted) events.push({ type: "session-wanted", peer });
    if (flags & FLAG.counterLimit) events.push({ type: "counter-limit", peer });
  }

  #tell(peer: number, data: number, now: Millis, events: DeviceEvent[]): void {
    const { packetsSent, packetsReceived } = this.#table.counters(peer);
    const told = this.#told.get(peer) ??
      { flags: 0, sent: 0, received: 0, clearAt: now + DATA_FLAG_MS };
    const fresh = data & ~told.flags;
    told.flags |= data;
    told.sent = packetsSent;
    told.received = packetsReceived;
    this.#told.set(peer, told);
    if (fresh & FLAG.dataReceived) events.push({ type: "data-received", peer });
    if (fresh & FLAG.dataSent) events.push({ type: "data-sent", peer });
  }

  /**
   * Clears the data flags, and tells of what went on since they were told. Reception comes first:
   * if a send was last, the session must still be watched for an answer to it.
   */
  #clear(peer: number, told: Told, events: DeviceEvent[]): void {
    this.#told.delete(peer);
    this.#table.takeFlags(peer, DATA_FLAGS);
    const { packetsSent, packetsReceived } = this.#table.counters(peer);
    if ((told.flags & FLAG.dataReceived) && packetsReceived > told.received) {
      events.push({ type: "data-received", peer });
    }
    if ((told.flags & FLAG.dataSent) && packetsSent > told.sent) {
      events.push({ type: "data-sent", peer });
    }
  }
}
