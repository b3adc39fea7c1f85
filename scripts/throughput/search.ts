/**
 * Looks for the highest rate at which a tunnel loses next to nothing.
 *
 * A flood would not tell: on a machine where the sender, both ends of the tunnel and the receiver
 * share the processors, what arrives of a flood says how the scheduler shares them.
 * @module
 */

/** What became of one burst, in datagrams per second. */
export interface Burst {
  readonly sent: number;
  /** Until the last one arrived, so that a long queue does not count as speed. */
  readonly received: number;
  /** The share of datagrams that never arrived. */
  readonly loss: number;
}

/** How to look. */
export interface Search {
  /** The rate to begin with. */
  readonly from: number;
  readonly bursts: number;
}

/** Where the rate is said to be too high. */
export const MOST_LOSS = 0.005;
/** A sender that does not come this close to what it was told is at its own limit. */
const SENDER_KEEPS_UP = 0.9;
/** The coarsest and finest step from one rate to the next, as factors. */
const COARSEST = 2, FINEST = 2 ** (1 / 16);

/**
 * Goes up after a burst that came through and down after one that did not: in finer steps each time
 * it turns round, in coarser ones from the third step the same way (PEST, Taylor and Creelman
 * 1967). So a burst that another program has spoilt costs steps and does not decide the result.
 *
 * @returns Received datagrams per second in the best burst that came through; 0 when none did.
 */
export async function searchRate(
  { from, bursts }: Search,
  sendBurst: (rate: number) => Promise<Burst>,
): Promise<number> {
  let rate = from, factor: number = COARSEST, wasUp = true, sameWay = 0, best = 0;
  for (let i = 0; i < bursts; i++) {
    const { sent, received, loss } = await sendBurst(rate);
    const isThrough = loss < MOST_LOSS;
    if (isThrough) best = Math.max(best, received);
    const isUp = isThrough && sent >= rate * SENDER_KEEPS_UP;
    sameWay = isUp === wasUp ? sameWay + 1 : 1;
    if (i > 0 && sameWay === 1) factor = Math.max(FINEST, Math.sqrt(factor));
    if (sameWay >= 3) factor = Math.min(COARSEST, factor ** 2);
    rate = isUp ? rate * factor : rate / factor;
    wasUp = isUp;
  }
  return best;
}
