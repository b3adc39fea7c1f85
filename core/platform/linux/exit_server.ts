/**
 * Lets members reach the internet, or networks behind this machine, through it, and undoes it:
 * carries out what `core/exit/server_plan.ts` has planned.
 *
 * Only a table of our own and the kernel's settings for forwarding are changed; chains of other
 * programs that drop what they do not know are found and named instead.
 * @module
 */
import { renderRemoval, renderTable } from "../../exit/nft.ts";
import { legacyObstacles, nftObstacles, type Obstacle } from "../../exit/obstacles.ts";
import { forwardingSysctls, type ServerPlan, sideEffects } from "../../exit/server_plan.ts";
import { outputOf, readProc } from "./dns_program.ts";
import { interfaceNames, nft, writeSysctl } from "./exit_programs.ts";
import { ExitJournal, restoreSysctls, valuesOf } from "./exit_record.ts";

const NAME = "exit_server";
const LEGACY = [["ip", "iptables-legacy"], ["ip6", "ip6tables-legacy"]] as const;

/** The exit or router as this machine's kernel has it; one for each context. */
export class ExitServer implements Disposable {
  readonly #journal: ExitJournal;

  private constructor(journal: ExitJournal) {
    this.#journal = journal;
  }

  /**
   * Takes responsibility; changes nothing.
   * @param folder State folder of the context.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open(folder: string): Promise<ExitServer> {
    return new ExitServer(await ExitJournal.open(folder, NAME));
  }

  /** Whether something is in force, perhaps from a daemon that died. */
  async isApplied(): Promise<boolean> {
    return await this.#journal.read() !== null;
  }

  /** Puts a plan in force, in place of any former one. */
  async apply(plan: ServerPlan): Promise<void> {
    const filters = [plan.filter.name];
    const names = ["all", "default", ...await interfaceNames()];
    const wanted = forwardingSysctls(plan.families, await acceptRaByInterface(names));
    const present = new Map((await valuesOf(wanted.map(({ path }) => path)))
      .map(({ path, value }) => [path, value]));
    const changes = wanted.filter(({ path, value }) => (present.get(path) ?? value) !== value);
    const touched = changes.flatMap(({ path }) => [path, ...sideEffects(path, names)]);
    // Forwarding is put back before what it changes by itself, and that before anything else.
    const order = [...touched].sort((a, b) => rank(a) - rank(b));
    await this.#journal.add({ filters, routing: [], sysctls: await valuesOf(order) });
    // Narrowed down before it is opened.
    await nft(renderTable(plan.filter));
    for (const setting of changes) await writeSysctl(setting);
    const former = (await this.#journal.read())!.filters.filter((name) => !filters.includes(name));
    if (former.length > 0) await nft(former.map(renderRemoval).join(""));
    await this.#journal.reduce({ filters, routing: [] });
  }

  /** Undoes everything; does nothing where nothing is in force. */
  async remove(): Promise<void> {
    const record = await this.#journal.read();
    if (record === null) return;
    await restoreSysctls(record.sysctls);
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
}

/** Chains of other programs that drop members' traffic unless they are told otherwise. */
export async function findObstacles(plan: ServerPlan): Promise<Obstacle[]> {
  const { interfaceName } = plan.settings;
  const chains = await outputOf("nft", ["--json", "list", "chains"]);
  const found = chains === null ? [] : nftObstacles(chains, plan.filter.name, interfaceName);
  for (const [family, command] of LEGACY) {
    // Asked for a table that is not there, iptables would make it.
    const tables = await readProc(`/proc/net/${family}_tables_names`);
    if (!/^filter$/m.test(tables ?? "")) continue;
    const listing = await outputOf(command, ["-S"]);
    if (listing !== null) found.push(...legacyObstacles(listing, command, interfaceName));
  }
  return found;
}

/** Which settings have to be put back first, because the kernel changes others with them. */
function rank(path: string): number {
  return /ip_forward$|\/all\/forwarding$/.test(path) ? 0 : 1;
}

async function acceptRaByInterface(names: readonly string[]): Promise<Map<string, string>> {
  const paths = names.map((name) => `net/ipv6/conf/${name}/accept_ra`);
  const values = await valuesOf(paths);
  return new Map(values.map(({ path, value }) => [path.split("/")[3]!, value]));
}
