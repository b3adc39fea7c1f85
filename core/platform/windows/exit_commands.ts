/**
 * Makes and undoes on Windows what an exit changes there: routes and rules of the firewall by netsh,
 * the rule for names by PowerShell.
 * @module
 */
import { MeshError } from "../../errors.ts";
import type { Change, Command, RouteChange } from "../../exit/changes.ts";
import { familyOf } from "../../exit/direct_routes.ts";
import type { Family } from "../../exit/routing.ts";
import {
  addRule,
  deleteRule,
  firewallObstacle,
  type FirewallRule,
  LIST_PROFILES,
  showRule,
} from "../../exit/windows_firewall.ts";
import { addNames, removeNames, type WindowsFacts } from "../../exit/windows_plan.ts";
import {
  addRoute,
  deleteRoute,
  hasRoute,
  listInterfaces,
  listRoutes,
  machineRoutes,
  parseInterfaces,
  parseRoutes,
  type WindowsInterface,
  type WindowsRoute,
} from "../../exit/windows_routes.ts";
import type { ChangeMaker, ExitChanges } from "../exit_changes.ts";
import { outputOf, type Run, runCommand } from "../run_command.ts";

/** What to do by hand when a record cannot be read. */
export const BY_HAND = "Remove what it names by hand: netsh advfirewall firewall delete rule, " +
  "netsh interface ipv4 delete route, Remove-DnsClientNrptRule; then the file";

const FAMILIES: readonly Family[] = [4, 6];

/** Runs programs of the system folder, whatever PATH says. */
export function runSystemCommand({ argv, input }: Command) {
  const [name, ...args] = argv;
  const folder = `${Deno.env.get("SystemRoot") ?? "C:\\Windows"}\\System32`;
  const inner = name === "powershell.exe" ? "\\WindowsPowerShell\\v1.0" : "";
  return runCommand({ argv: [`${folder}${inner}\\${name}`, ...args], input });
}

/** Routes and interfaces of a family. */
interface Listed {
  readonly routes: readonly WindowsRoute[];
  readonly interfaces: readonly WindowsInterface[];
  readonly indexes: ReadonlyMap<string, string>;
}

const NOTHING: Listed = { routes: [], interfaces: [], indexes: new Map() };

/** The changes of this system. */
export class WindowsChanges implements ChangeMaker {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  async make(change: Change): Promise<void> {
    if (change.kind === "route") await this.#makeRoute(change);
    else if (change.kind === "names") {
      await outputOf(this.#run, addNames(change), "lead names to the node");
    }
  }

  async undo(change: Change): Promise<void> {
    switch (change.kind) {
      case "route":
        return await this.#undoRoute(change);
      case "block":
        return await this.#undoRule(change.name);
      case "names":
        await outputOf(this.#run, removeNames(change), "lead names back from the node");
    }
  }

  /** The machine's own routes. */
  async facts(own: string): Promise<Pick<WindowsFacts, "routes" | "families">> {
    // Where IPv6 is switched off netsh has nothing to list.
    const listed = { 4: await this.#list(4), 6: await this.#list(6).catch(() => NOTHING) };
    const of = (family: Family) =>
      machineRoutes(listed[family].routes, listed[family].interfaces, own);
    return {
      routes: { 4: of(4), 6: of(6) },
      families: FAMILIES.filter((family) => listed[family].interfaces.length > 0),
    };
  }

  /**
   * Puts rules in force, in any order: each of them refuses.
   * @returns All of them.
   */
  async putRules(changes: ExitChanges, rules: readonly FirewallRule[]): Promise<Change[]> {
    if (rules.length === 0) return [];
    const obstacle = await this.#obstacle();
    if (obstacle !== null) {
      throw new MeshError("unsupported", `Cannot close the way past the exit: ${obstacle}`, {
        hint: "Switch Windows Firewall on, or use the exit with --on-exit-loss direct",
      });
    }
    const blocks = rules.map(({ name }): Change => ({ kind: "block", name }));
    await changes.note(blocks);
    for (const rule of rules) {
      if (await this.#hasRule(rule.name)) continue;
      await outputOf(this.#run, addRule(rule), "change the firewall");
    }
    return blocks;
  }

  async #list(family: Family): Promise<Listed> {
    const read = (command: Command) => outputOf(this.#run, command, "list routes");
    const interfaces = parseInterfaces(await read(listInterfaces(family)));
    const indexes = new Map(interfaces.map((each) => [each.name, each.index]));
    return { routes: parseRoutes(await read(listRoutes(family))), interfaces, indexes };
  }

  async #makeRoute(route: RouteChange): Promise<void> {
    const { routes, indexes } = await this.#list(familyOf(route));
    if (hasRoute(routes, route, indexes)) return;
    await outputOf(this.#run, addRoute(route, indexes), `lead ${route.prefix} its way`);
  }

  async #undoRoute(route: RouteChange): Promise<void> {
    const { routes, indexes } = await this.#list(familyOf(route));
    if (!hasRoute(routes, route, indexes)) return;
    const command = deleteRoute(route, indexes);
    await outputOf(this.#run, command, `remove the route of ${route.prefix}`);
  }

  /** netsh fails in the same way for one that is not there as for anything else. */
  async #undoRule(name: string): Promise<void> {
    const { code, stdout, stderr } = await this.#run(deleteRule(name));
    if (code === 0) return;
    // A firewall that answers has answered truly that there is no such rule.
    await outputOf(this.#run, LIST_PROFILES, "ask the firewall");
    if (!await this.#hasRule(name)) return;
    const said = stderr.trim() || stdout.trim();
    throw new MeshError("system", `Cannot remove a rule of the firewall: ${said}`, {
      hint: `Do it as administrator: ${deleteRule(name).argv.join(" ")}`,
    });
  }

  async #hasRule(name: string): Promise<boolean> {
    return (await this.#run(showRule(name))).code === 0;
  }

  async #obstacle(): Promise<string | null> {
    return firewallObstacle(await outputOf(this.#run, LIST_PROFILES, "ask the firewall"));
  }
}
