/**
 * What does the user want of exits and routes, by configuration or by a command at run time?
 *
 * What a command chose outlives the daemon, for after a crash nothing may leave that a kill switch
 * held back. It gives way when the configuration is changed afterwards.
 * @module
 */
import { z } from "zod";
import { ON_EXIT_LOSS } from "../exit/client_plan.ts";
import { MAX_OFFERED_ROUTES, OfferedRoute } from "../identity/record.ts";
import type { StateDir } from "./state_dir.ts";

const FILE = "exit_wishes.json";
const MAX_EXITS = 16;

/** Which exits this node's traffic leaves by. */
export const ExitUse = z.strictObject({
  /** Names or ids, the most wanted first; empty for none. */
  exits: z.array(z.string().min(1).max(255)).max(MAX_EXITS),
  onLoss: z.enum(ON_EXIT_LOSS),
  /** Whether networks that this machine stands in stay within reach. */
  lan: z.boolean(),
});
export type ExitUse = z.infer<typeof ExitUse>;

/** What this node offers; `Offers` of `core/exit/offers.ts`. */
export const OfferWish = z.strictObject({
  isExit: z.boolean(),
  routes: z.array(OfferedRoute).max(MAX_OFFERED_ROUTES),
});
export type OfferWish = z.infer<typeof OfferWish>;

const Kept = z.strictObject({
  use: z.strictObject({ configured: ExitUse, chosen: ExitUse }).optional(),
  offer: z.strictObject({ configured: OfferWish, chosen: OfferWish }).optional(),
});
type Kept = z.infer<typeof Kept>;

/** Both wishes of a user. */
export interface ExitWishes {
  readonly use: ExitUse;
  readonly offer: OfferWish;
}

/** A node that neither offers nor uses anything. */
export const NO_WISHES: ExitWishes = {
  use: { exits: [], onLoss: "block", lan: false },
  offer: { isExit: false, routes: [] },
};

/** The wishes of one node; see the module's doc. */
export class ExitWishesFile {
  readonly #state: StateDir;
  readonly #configured: ExitWishes;
  #kept: Kept;

  private constructor(state: StateDir, configured: ExitWishes, kept: Kept) {
    this.#state = state;
    this.#configured = configured;
    this.#kept = kept;
  }

  static async open(state: StateDir, configured: ExitWishes): Promise<ExitWishesFile> {
    return new ExitWishesFile(state, configured, await state.readJson(FILE, Kept) ?? {});
  }

  /** Takes back exits that a command chose, while no daemon runs. */
  static async forgetUse(state: StateDir): Promise<void> {
    const kept = await state.readJson(FILE, Kept);
    if (!kept?.use) return;
    const use = { ...kept.use, chosen: { ...kept.use.chosen, exits: [] } };
    await state.writeJson(FILE, { ...kept, use });
  }

  get use(): ExitUse {
    return inForce(this.#kept.use, this.#configured.use);
  }

  get offer(): OfferWish {
    return inForce(this.#kept.offer, this.#configured.offer);
  }

  async chooseUse(chosen: ExitUse): Promise<void> {
    this.#kept = { ...this.#kept, use: { configured: this.#configured.use, chosen } };
    await this.#state.writeJson(FILE, this.#kept);
  }

  async chooseOffer(chosen: OfferWish): Promise<void> {
    this.#kept = { ...this.#kept, offer: { configured: this.#configured.offer, chosen } };
    await this.#state.writeJson(FILE, this.#kept);
  }
}

function inForce<T>(kept: { configured: T; chosen: T } | undefined, configured: T): T {
  const isSame = JSON.stringify(kept?.configured) === JSON.stringify(configured);
  return kept !== undefined && isSame ? kept.chosen : configured;
}
