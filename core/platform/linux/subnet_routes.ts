/**
 * Leads networks behind routers of the mesh into the tunnel, and undoes it: carries out what
 * `core/exit/subnet_plan.ts` has planned.
 *
 * No record is kept: rules and routes carry this program's number, and stand where the context's
 * numbers say, so the next start finds what a killed daemon left.
 * @module
 */
import {
  type Family,
  ownRules,
  routeWords,
  ruleChanges,
  ruleWords,
  staleRoutes,
} from "../../exit/routing.ts";
import { MeshError } from "../../errors.ts";
import { SUBNET_PRIORITIES, type SubnetPlan } from "../../exit/subnet_plan.ts";
import { ipBatch, ipList } from "./exit_programs.ts";

const FAMILIES: readonly Family[] = [4, 6];

/**
 * Puts a plan in force in place of any former one; an empty plan undoes it.
 *
 * @throws {MeshError} `system` with what `ip` said, or when the table is another program's.
 */
export async function applySubnets(plan: SubnetPlan): Promise<void> {
  for (const family of FAMILIES) await applyFamily(plan, family);
}

async function applyFamily(plan: SubnetPlan, family: Family): Promise<void> {
  const { table, priority } = plan.settings;
  const listing = await ipList(family, "rule", "show");
  // A kernel without IPv6 has none.
  if (listing === null) return;
  const present = ownRules(listing, priority, SUBNET_PRIORITIES);
  const rules = plan.rules.filter((rule) => rule.family === family).map(ruleWords);
  const routes = plan.routes.filter((route) => route.family === family);
  const old = await ipList(family, "route", "show", "table", `${table}`);
  const stale = staleRoutes(old ?? "", family, table, plan.routes);
  if (stale === null) {
    const why = "another program has routes in it";
    throw new MeshError("system", `Cannot use routing table ${table}: ${why}`);
  }
  await ipBatch(family, routes.map((route) => `route replace ${routeWords(route)}`));
  await ipBatch(family, ruleChanges(present, rules));
  await ipBatch(family, stale);
}
