/**
 * Sends a Windows machine's traffic through an exit node, and undoes it: carries out what
 * `core/exit/windows_plan.ts` has planned. Never run on Windows so far.
 *
 * Windows is no exit itself: its translation of addresses (New-NetNat) is a part of Hyper-V, which
 * not every machine has, and there is one such network for each machine, whoever has taken it.
 * @module
 */
import type { ClientExitSettings } from "../../exit/client_plan.ts";
import { planWindowsClient, type WindowsFacts } from "../../exit/windows_plan.ts";
import { ExitChanges } from "../exit_changes.ts";
import type { Run } from "../run_command.ts";
import { BY_HAND, runSystemCommand, WindowsChanges } from "./exit_commands.ts";

/** What came of {@link WindowsExitClient.apply}. */
export interface WindowsExitResult {
  /** Why nothing goes into the tunnel yet: its interface is missing or down. Null: it does. */
  readonly problem: string | null;
}

const NAME = "exit_client";

/** The exit as this machine has it; one for each context. */
export class WindowsExitClient implements Disposable {
  readonly #system: WindowsChanges;
  readonly #changes: ExitChanges;

  private constructor(system: WindowsChanges, changes: ExitChanges) {
    this.#system = system;
    this.#changes = changes;
  }

  /**
   * Takes responsibility; changes nothing.
   * @param folder State folder of the context.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open(folder: string, run: Run = runSystemCommand): Promise<WindowsExitClient> {
    const system = new WindowsChanges(run);
    return new WindowsExitClient(system, await ExitChanges.open(folder, NAME, BY_HAND, system));
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
   * @throws {MeshError} `unsupported` when the firewall would not obey; `system`, and then what has
   * been closed stays closed.
   */
  async apply(
    settings: ClientExitSettings,
    own: Pick<WindowsFacts, "addresses" | "resolver">,
  ): Promise<WindowsExitResult> {
    const facts = await this.#system.facts(settings.interfaceName);
    const { rules, closing, opening } = planWindowsClient(settings, { ...facts, ...own });
    try {
      const guard = () => this.#system.putRules(this.#changes, rules);
      return { problem: await this.#changes.put({ guard, closing, opening }) };
    } catch (error) {
      // Half of it would lead nowhere, where nothing is to be held back.
      if (rules.length === 0) await this.remove().catch(() => {});
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
}
