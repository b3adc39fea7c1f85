/**
 * Handshake timestamps that never go back, across restarts and clock changes.
 *
 * Peers refuse an initiation that is not newer than the last they saw. A reservation ahead of the
 * clock is kept on disk, so that a machine that comes back with its clock an hour behind still
 * starts above everything it has sent; one write a minute suffices.
 * @module
 */
import { z } from "zod";
import { TimestampSource } from "../wireguard/tai64n.ts";
import type { StateDir } from "./state_dir.ts";

const FILE = "timestamp.json";
const RESERVE_MS = 60_000;
const Content = z.strictObject({ reservedUntil: z.int().nonnegative() });

/** Gives the timestamps of one node. */
export class TimestampFile {
  readonly #state: StateDir;
  readonly #wallTime: () => number;
  readonly #source: TimestampSource;
  #reservedUntil: number;

  private constructor(state: StateDir, wallTime: () => number, reservedUntil: number) {
    this.#state = state;
    this.#wallTime = wallTime;
    this.#reservedUntil = reservedUntil;
    // Only a clock that went back needs the reservation; a healthy one is past it soon.
    this.#source = new TimestampSource(reservedUntil > wallTime() ? reservedUntil : 0);
  }

  static async open(state: StateDir, wallTime: () => number): Promise<TimestampFile> {
    const content = await state.readJson(FILE, Content);
    return new TimestampFile(state, wallTime, content?.reservedUntil ?? 0);
  }

  /** 12 bytes, newer than all before. */
  next(): Uint8Array {
    const timestamp = this.#source.next(this.#wallTime());
    if (this.#source.watermark >= this.#reservedUntil) {
      this.#reservedUntil = this.#source.watermark + RESERVE_MS;
      // A failed write costs nothing while the clock goes forward; the next reservation retries.
      this.#state.writeJson(FILE, { reservedUntil: this.#reservedUntil }).catch(() => {});
    }
    return timestamp;
  }
}
