import { strict as assert } from "node:assert";
import { RULE_PRIORITIES } from "./client_plan.ts";
import { kernelNumbers } from "./numbers.ts";
import { SUBNET_PRIORITIES } from "./subnet_plan.ts";

Deno.test("kernelNumbers() gives contexts numbers that do not meet", () => {
  const contexts = ["default", "work", "home", "a", "b", "client-1", "client-2"];
  const all = contexts.map(kernelNumbers);
  assert.deepEqual(all[0], {
    exit: { table: 8564, priority: 4200 },
    subnets: { table: 8565, priority: 4210 },
  });
  const tables = all.flatMap(({ exit, subnets }) => [exit.table, subnets.table]);
  assert.equal(new Set(tables).size, tables.length);
  const used = all.flatMap(({ exit, subnets }) => [
    ...Array.from({ length: RULE_PRIORITIES }, (_, i) => exit.priority + i),
    ...Array.from({ length: SUBNET_PRIORITIES }, (_, i) => subnets.priority + i),
  ]);
  assert.equal(new Set(used).size, used.length);
  // The system's own rules come behind: 32766 is that of the main table.
  assert.ok(used.every((priority) => priority < 32_766));
});
