/**
 * Sends this machine's traffic through an exit node, and undoes it: carries out what
 * `core/exit/client_plan.ts` has planned.
 *
 * The kill switch closes first and opens last, so that in between nothing leaves. Everything may be
 * done again: after a crash, when the tunnel's interface came back, when another program removed
 * rules. The record says what there is to undo.
 * @module
 */
import { type ClientPlan, KILL_SWITCH, RULE_PRIORITIES } from "../../exit/client_plan.ts";
import { renderRemoval, renderTable } from "../../exit/nft.ts";
import {
  type Family,
  ownRules,
  type Route,
  routeWords,
  ruleChanges,
  ruleWords,
  staleRoutes,
} from "../../exit/routing.ts";
import { errorMessage, MeshError } from "../../errors.ts";
import { outputOf } from "./dns_program.ts";
import { ipBatch, ipList, nft, writeSysctl } from "./exit_programs.ts";
import { ExitJournal, type ExitRecord, restoreSysctls, valuesOf } from "./exit_record.ts";

/** What came of {@link ExitClient.apply}. */
export interface ExitClientResult {
  /** Why nothing goes into the tunnel yet: its interface is missing or down. Null: it does. */
  readonly problem: string | null;
}

/** A routing table with its rules. */
type Routing = ExitRecord["routing"][number];

const NAME = "exit_client";
const FAMILIES: readonly Family[] = [4, 6];
/**
 * Lets the reverse path filter see marks, and what is accepted inherit them (ip-sysctl of the
 * kernel's documentation; the second is for IPv6 as well).
 */
const SETTINGS = [
  { path: "net/ipv4/conf/all/src_valid_mark", value: "1" },
  { path: "net/ipv4/tcp_fwmark_accept", value: "1" },
];

/** The exit as this machine's kernel has it; one for each context. */
export class ExitClient implements Disposable {
  readonly #journal: ExitJournal;

  private constructor(journal: ExitJournal) {
    this.#journal = journal;
  }

  /**
   * Takes responsibility; changes nothing.
   * @param folder State folder of the context.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open(folder: string): Promise<ExitClient> {
    return new ExitClient(await ExitJournal.open(folder, NAME));
  }

  /** Whether something is in force, perhaps from a daemon that died. */
  async isApplied(): Promise<boolean> {
    return await this.#journal.read() !== null;
  }

  /**
   * Puts a plan in force, in place of any former one, without a moment in between.
   * @throws {MeshError} `config-invalid` when another context uses an exit; `system`, and then what
   * has been closed stays closed.
   */
  async apply(plan: ClientPlan): Promise<ExitClientResult> {
    const { table, priority } = plan.settings;
    const own = { filters: [plan.filter.name], routing: [{ table, priority }] };
    await refuseSecond(plan.filter.name);
    for (const family of FAMILIES) await presentRoutes(family, table, []);
    const sysctls = await valuesOf(SETTINGS.map(({ path }) => path));
    await this.#journal.add({ ...own, sysctls });
    await nft(renderTable(plan.filter));
    // Before the new routes, which may stand in the same table.
    await this.#removeOthers(own);
    for (const family of FAMILIES) await closeRoutes(plan, family);
    for (const { path, value } of SETTINGS) {
      const present = sysctls.find((each) => each.path === path)?.value;
      if (present !== undefined && present !== value) await writeSysctl({ path, value });
    }
    return { problem: await openTunnel(plan) };
  }

  /**
   * Undoes everything; does nothing where nothing is in force.
   * @param beforeOpening Called when rules and routes are gone and the kill switch is still closed.
   */
  async remove(beforeOpening: () => Promise<void> = async () => {}): Promise<void> {
    const record = await this.#journal.read();
    if (record === null) return;
    for (const routing of record.routing) await removeRouting(routing);
    await restoreSysctls(record.sysctls);
    await beforeOpening();
    await nft(record.filters.map(renderRemoval).join(""));
    await this.#journal.clear();
  }

  /** Lets go; what is in force stays. */
  close(): void {
    this.#journal.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Removes what a former plan with other numbers has left. */
  async #removeOthers(own: Pick<ExitRecord, "filters" | "routing">): Promise<void> {
    const { filters, routing } = (await this.#journal.read())!;
    const isOther = ({ table, priority }: Routing) =>
      own.routing.every((each) => each.table !== table || each.priority !== priority);
    for (const each of routing.filter(isOther)) await removeRouting(each);
    const names = filters.filter((name) => !own.filters.includes(name));
    if (names.length > 0) await nft(names.map(renderRemoval).join(""));
    await this.#journal.reduce(own);
  }
}

/** @throws {MeshError} `config-invalid` when another context has closed its kill switch. */
async function refuseSecond(own: string): Promise<void> {
  const listing = await outputOf("nft", ["list", "tables"]) ?? "";
  const names = [...listing.matchAll(/^table inet (\S+)$/gm)].map(([, name]) => name!);
  const other = names.find((name) => name.startsWith(KILL_SWITCH) && name !== own);
  if (other === undefined) return;
  const context = other.slice(KILL_SWITCH.length);
  throw new MeshError("config-invalid", `Cannot use an exit: context ${context} uses one already`, {
    hint: `End that with: tunnelmesh --context ${context} exit-node off`,
  });
}

/** Everything but the way into the tunnel, in an order that never leaves a way past it. */
async function closeRoutes(plan: ClientPlan, family: Family): Promise<void> {
  const { table, priority } = plan.settings;
  const present = await presentRules(family, priority);
  // A kernel without IPv6 has nothing to lead astray.
  if (present === null) return;
  const wanted = plan.rules.filter((rule) => rule.family === family).map(ruleWords);
  const ends = plan.routes.filter((route) => route.family === family && route.device === null);
  await ipBatch(family, ends.map((route) => `route replace ${routeWords(route)}`));
  await ipBatch(family, ruleChanges(present, wanted));
  await ipBatch(family, await presentRoutes(family, table, plan.routes));
}

/** Leads traffic into the tunnel, or says why it cannot. */
async function openTunnel(plan: ClientPlan): Promise<string | null> {
  for (const family of FAMILIES) {
    const isHalf = (route: Route) => route.family === family && route.device !== null;
    const lines = plan.routes.filter(isHalf).map((route) => `route replace ${routeWords(route)}`);
    try {
      await ipBatch(family, lines);
    } catch (error) {
      return errorMessage(error);
    }
  }
  return null;
}

async function removeRouting({ table, priority }: Routing): Promise<void> {
  for (const family of FAMILIES) {
    const present = await presentRules(family, priority);
    if (present !== null) await ipBatch(family, ruleChanges(present, []));
    const routes = await ipList(family, "route", "show", "table", `${table}`);
    // Where others have put routes into it meanwhile, ours do no harm without the rules.
    await ipBatch(family, staleRoutes(routes ?? "", family, table, []) ?? []);
  }
}

async function presentRules(family: Family, priority: number): Promise<string[] | null> {
  const listing = await ipList(family, "rule", "show");
  return listing === null ? null : ownRules(listing, priority, RULE_PRIORITIES);
}

/** Lines that remove our routes that are not wanted; refuses a table that others use. */
async function presentRoutes(
  family: Family,
  table: number,
  wanted: readonly Route[],
): Promise<string[]> {
  const listing = await ipList(family, "route", "show", "table", `${table}`);
  const stale = staleRoutes(listing ?? "", family, table, wanted);
  if (stale !== null) return stale;
  throw new MeshError(
    "system",
    `Cannot use routing table ${table}: another program has routes in it`,
  );
}
