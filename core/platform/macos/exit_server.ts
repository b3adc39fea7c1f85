/**
 * Lets members reach the internet through a Mac, and undoes it: carries out what
 * `core/exit/macos_plan.ts` has planned. Only an anchor of our own and the settings for forwarding
 * are changed. Never run on a Mac so far.
 * @module
 */
import type { Change } from "../../exit/changes.ts";
import { anchorName, type ForwardingSysctl, planMacServer } from "../../exit/macos_plan.ts";
import type { ServerSettings } from "../../exit/server_plan.ts";
import { ExitChanges } from "../exit_changes.ts";
import { type Run, runCommand } from "../run_command.ts";
import { BY_HAND, MacChanges, putAnchor } from "./exit_commands.ts";

const NAME = "exit_server";
const ROLE = "gateway";

/** The exit as this machine has it; one for each context. */
export class MacExitServer implements Disposable {
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
  static async open(folder: string, run: Run = runCommand): Promise<MacExitServer> {
    const system = new MacChanges(run);
    return new MacExitServer(run, system, await ExitChanges.open(folder, NAME, BY_HAND, system));
  }

  /** Whether something is in force, perhaps from a daemon that died. */
  async isApplied(): Promise<boolean> {
    return (await this.#changes.changes()).length > 0;
  }

  /**
   * Puts settings in force, in place of any former ones.
   * @throws {MeshError} `unsupported` for networks behind the Mac, and when the packet filter calls no
   * rules of ours; `system`, and then everything is undone.
   */
  async apply(settings: ServerSettings): Promise<void> {
    const anchor = anchorName(await this.#system.mainRules(), ROLE, settings.context);
    const routes = await this.#system.routes(settings.interfaceName);
    const plan = planMacServer(settings, { 4: routes[4].default, 6: routes[6].default }, anchor);
    try {
      await this.#changes.put({
        // Narrowed down before it is opened.
        guard: () => putAnchor(this.#run, this.#changes, plan.anchor, false),
        closing: await this.#switches(plan.sysctls),
        opening: [],
      });
    } catch (error) {
      // What cannot be undone now stays in the record.
      await this.remove().catch(() => {});
      throw error;
    }
  }

  /** Undoes everything; does nothing where nothing is in force. */
  remove(): Promise<void> {
    return this.#changes.remove();
  }

  /** Lets go; what is in force stays. */
  close(): void {
    this.#changes.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Settings to be switched on, with the values they had; without those that were on already. */
  async #switches(names: readonly ForwardingSysctl[]): Promise<Change[]> {
    const noted = await this.#changes.changes();
    const found: Change[] = [];
    for (const name of names) {
      const former = noted.find((change) => change.kind === "sysctl" && change.name === name);
      if (former) found.push(former);
      else {
        const value = await this.#system.sysctl(name);
        if (value !== "1") found.push({ kind: "sysctl", name, value });
      }
    }
    return found;
  }
}
