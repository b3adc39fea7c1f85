/**
 * Makes and undoes on a Mac what an exit changes there: routes by route(8), rules by pfctl(8),
 * settings by sysctl(8).
 *
 * Whether a route was made is asked for afterwards, since route(8) does not always say by its status
 * that it failed.
 * @module
 */
import { MeshError } from "../../errors.ts";
import type { Change, NamesChange, RouteChange } from "../../exit/changes.ts";
import {
  type AnchorPlan,
  ENABLE_PF,
  FLUSH_STATES,
  flushAnchor,
  type ForwardingSysctl,
  hasNames,
  holdsToken,
  isRoute,
  LIST_MAIN_RULES,
  LIST_REFERENCES,
  loadAnchor,
  parseToken,
  readSysctl,
  releasePf,
  removeNames,
  routeAdd,
  routeDelete,
  routeGet,
  setNames,
  showNames,
  writeSysctl,
} from "../../exit/macos_plan.ts";
import { listRoutes, parseMacRoutes } from "../../exit/macos_routes.ts";
import type { RoutesByFamily } from "../../exit/direct_routes.ts";
import type { ChangeMaker, ExitChanges } from "../exit_changes.ts";
import { outputOf, type Run } from "../run_command.ts";

/** What to do by hand when a record cannot be read. */
export const BY_HAND =
  "Remove what it names by hand: pfctl -a NAME -F all, route delete, sysctl; then the file";

/** What route(8) says of a route that is not there. */
const NOT_IN_TABLE = "not in table";

/** The changes of this system. */
export class MacChanges implements ChangeMaker {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  async make(change: Change): Promise<void> {
    if (change.kind === "route") await this.#makeRoute(change);
    else if (change.kind === "sysctl") await this.#writeSysctl(change.name, "1");
    else if (change.kind === "names") await this.#setNames(change);
  }

  async undo(change: Change): Promise<void> {
    switch (change.kind) {
      case "route":
        return await this.#undoRoute(change);
      case "anchor":
        await outputOf(this.#run, flushAnchor(change.name), "remove rules of the packet filter");
        return;
      case "pf":
        return await this.#release(change.token);
      case "names":
        return await this.#removeNames(change);
      case "sysctl":
        return await this.#writeSysctl(change.name, change.value);
    }
  }

  /** The present value of a setting. */
  async sysctl(name: ForwardingSysctl): Promise<string> {
    return (await outputOf(this.#run, readSysctl(name), `read ${name}`)).trim();
  }

  /** The main rules of the packet filter, of translation too. */
  async mainRules(): Promise<string> {
    const listings = LIST_MAIN_RULES.map((each) =>
      outputOf(this.#run, each, "list packet filters")
    );
    return (await Promise.all(listings)).join("\n");
  }

  /** The machine's own routes. */
  async routes(own: string): Promise<RoutesByFamily> {
    const read = async (family: 4 | 6) =>
      parseMacRoutes(await outputOf(this.#run, listRoutes(family), "list routes"), own);
    return { 4: await read(4), 6: await read(6) };
  }

  async #makeRoute(route: RouteChange): Promise<void> {
    if (await this.#isThere(route)) return;
    const { stdout, stderr } = await this.#run(routeAdd(route));
    if (await this.#isThere(route)) return;
    const said = stderr.trim() || stdout.trim();
    throw new MeshError("system", `Cannot change routes: ${route.prefix} is not ours: ${said}`, {
      hint: "End the other VPN program that leads traffic its own way: netstat -rn",
    });
  }

  /** Routes go by themselves with the interface they lead to; another's may stand there now. */
  async #undoRoute(route: RouteChange): Promise<void> {
    if (!await this.#isThere(route)) return;
    const { stdout, stderr } = await this.#run(routeDelete(route));
    if (!await this.#isThere(route)) return;
    const said = stderr.trim() || stdout.trim();
    throw new MeshError("system", `Cannot change routes: ${route.prefix} does not go: ${said}`, {
      hint: `Remove it by hand: ${routeDelete(route).argv.join(" ")}`,
    });
  }

  async #setNames(change: NamesChange): Promise<void> {
    if (await this.#hasNames(change)) return;
    const said = await outputOf(this.#run, setNames(change), "lead names to the node");
    if (await this.#hasNames(change)) return;
    throw new MeshError("system", `Cannot lead names to the node: ${said.trim()}`, {
      hint: "Run as root; see what answers now: scutil --dns",
    });
  }

  async #removeNames(change: NamesChange): Promise<void> {
    if (!await this.#hasNames(change)) return;
    const said = await outputOf(this.#run, removeNames(change), "lead names back from the node");
    if (!await this.#hasNames(change)) return;
    throw new MeshError("system", `Cannot lead names back from the node: ${said.trim()}`, {
      hint: "Run as root; see what answers now: scutil --dns",
    });
  }

  async #hasNames(change: NamesChange): Promise<boolean> {
    return hasNames(await outputOf(this.#run, showNames(change), "ask who resolves names"), change);
  }

  async #isThere(route: RouteChange): Promise<boolean> {
    const { code, stdout, stderr } = await this.#run(routeGet(route));
    if (code === 0 || stderr.includes(NOT_IN_TABLE)) return isRoute(stdout, route);
    throw new MeshError("system", `Cannot ask for a route: ${stderr.trim()}`, {
      hint: `See what keeps this from working: ${routeGet(route).argv.join(" ")}`,
    });
  }

  async #writeSysctl(name: ForwardingSysctl, value: string): Promise<void> {
    if (await this.sysctl(name) === value) return;
    await outputOf(this.#run, writeSysctl(name, value), `set ${name} to ${value}`);
  }

  /** A reference ends when the machine does, and then it cannot be released. */
  async #release(token: string): Promise<void> {
    const { code, stderr } = await this.#run(releasePf(token));
    if (code === 0) return;
    const { stdout } = await this.#run(LIST_REFERENCES);
    if (!holdsToken(stdout, token)) return;
    throw new MeshError("system", `Cannot let go of the packet filter: ${stderr.trim()}`, {
      hint: `Do it by hand: ${releasePf(token).argv.join(" ")}`,
    });
  }
}

/**
 * Puts an anchor's rules in force and sees to it that pf is enabled.
 * @param isStrict Connections that other rules have let pass before are judged again.
 * @returns All that keeps them in force.
 */
export async function putAnchor(
  run: Run,
  changes: ExitChanges,
  plan: AnchorPlan,
  isStrict: boolean,
): Promise<Change[]> {
  const anchor: Change = { kind: "anchor", name: plan.name };
  await changes.note([anchor]);
  await outputOf(run, loadAnchor(plan), "change the packet filter");
  const { stdout: listing } = await run(LIST_REFERENCES);
  const held = (await changes.changes()).find((change) =>
    change.kind === "pf" && holdsToken(listing, change.token)
  );
  if (held) return [anchor, held];
  // Once, and before a token says so: pf has states where somebody else has enabled it already.
  if (isStrict) await outputOf(run, FLUSH_STATES, "end connections past the exit");
  return [anchor, await enablePf(run, changes)];
}

/** Between enabling and noting lies a moment whose crash leaves pf enabled, with no rule of ours. */
async function enablePf(run: Run, changes: ExitChanges): Promise<Change> {
  const { code, stdout, stderr } = await run(ENABLE_PF);
  // pfctl prints what is not a listing to either.
  const token = parseToken(`${stdout}\n${stderr}`);
  if (code !== 0 || token === null) {
    throw new MeshError("system", `Cannot enable the packet filter: ${stderr.trim()}`, {
      hint: `See what keeps it from working: ${ENABLE_PF.argv.join(" ")}`,
    });
  }
  const enabled: Change = { kind: "pf", token };
  await changes.note([enabled]);
  return enabled;
}
