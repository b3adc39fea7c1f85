/**
 * Sends a Mac's traffic through an exit node, and undoes it: carries out what
 * `core/exit/macos_plan.ts` has planned. Never run on a Mac so far.
 * @module
 */
import { MeshError } from "../../errors.ts";
import type { Ip } from "../../ip.ts";
import type { ClientExitSettings } from "../../exit/client_plan.ts";
import { anchorName, listSiblings, otherExit, planMacClient } from "../../exit/macos_plan.ts";
import { ExitChanges } from "../exit_changes.ts";
import { type Run, runCommand } from "../run_command.ts";
import { BY_HAND, MacChanges, putAnchor } from "./exit_commands.ts";

/** What came of {@link MacExitClient.apply}. */
export interface MacExitResult {
  /** Why nothing goes into the tunnel yet: its interface is missing or down. Null: it does. */
  readonly problem: string | null;
}

const NAME = "exit_client";
const ROLE = "exit";

/** The exit as this machine has it; one for each context. */
export class MacExitClient implements Disposable {
  readonly #run: Run;
  readonly #system: MacChanges;
  readonly #changes: ExitChanges;

  private constructor(run: Run, system: MacChanges, changes: ExitChanges) {
    this.#run = run;
    this.#system = system;
    this.#changes = changes;
  }

  /**
   * Takes responsibility; changes nothing.
   * @param folder State folder of the context.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open(folder: string, run: Run = runCommand): Promise<MacExitClient> {
    const system = new MacChanges(run);
    return new MacExitClient(run, system, await ExitChanges.open(folder, NAME, BY_HAND, system));
  }

  /** Whether something is in force, perhaps from a daemon that died. */
  async isApplied(): Promise<boolean> {
    return (await this.#changes.changes()).length > 0;
  }

  /**
   * Puts settings in force, in place of any former ones; to be done again when routes of the machine
   * have changed.
   *
   * @param settings Its endpoints include the UDP endpoints of peers, as nothing marks packets to them.
   * @param own The node's resolver; null for none.
   * @throws {MeshError} `config-invalid` when another context uses an exit; `unsupported` when the
   * packet filter calls no rules of ours; `system`, and then what has been closed stays closed.
   */
  async apply(
    settings: ClientExitSettings,
    { resolver }: { readonly resolver: Ip | null },
  ): Promise<MacExitResult> {
    const anchor = settings.onLoss === "direct" ? null : await this.#anchor(settings.context);
    const routes = await this.#system.routes(settings.interfaceName);
    const plan = planMacClient(settings, routes, anchor, resolver);
    try {
      const guard = async () =>
        plan.anchor === null ? [] : await putAnchor(this.#run, this.#changes, plan.anchor, true);
      return { problem: await this.#changes.put({ guard, ...plan }) };
    } catch (error) {
      // Half of it would lead nowhere, where nothing is to be held back.
      if (plan.anchor === null) await this.remove().catch(() => {});
      throw error;
    }
  }

  /**
   * Undoes everything; does nothing where nothing is in force.
   * @param beforeOpening Called when routes are gone and the kill switch is still closed.
   */
  remove(beforeOpening?: () => Promise<void>): Promise<void> {
    return this.#changes.remove(beforeOpening);
  }

  /** Lets go; what is in force stays. */
  close(): void {
    this.#changes.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The name of our anchor, unless another context has one. */
  async #anchor(own: string): Promise<string> {
    const anchor = anchorName(await this.#system.mainRules(), ROLE, own);
    // The parent is not there before the first of its anchors is.
    const { stdout } = await this.#run(listSiblings(anchor));
    const context = otherExit(stdout, anchor);
    if (context === null) return anchor;
    throw new MeshError(
      "config-invalid",
      `Cannot use an exit: context ${context} uses one already`,
      { hint: `End that with: tunnelmesh --context ${context} exit-node off` },
    );
  }
}
