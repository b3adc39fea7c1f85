/**
 * Which clocks does a system have that nobody sets? One interface, one implementation per operating
 * system (`clocks.ts`).
 * @module
 */
import type { Millis } from "../machine.ts";

/** Two clocks that only go forward, each from a start of its own. */
export interface SystemClocks {
  /** Goes on while the machine sleeps, so that keys and sessions age through a suspend. */
  readonly boottime: () => Millis;
  /** Stands still while the machine sleeps. */
  readonly monotonic: () => Millis;
}
