/**
 * Brings the kernel's routes, rules and packet filters in step with what exits and routes ask for:
 * one change at a time, the last wish wins, and what another program removed is put back.
 * @module
 */
import { errorMessage } from "../errors.ts";
import type { ClientPlan } from "../exit/client_plan.ts";
import type { Obstacle } from "../exit/obstacles.ts";
import type { ServerPlan } from "../exit/server_plan.ts";
import type { SubnetPlan } from "../exit/subnet_plan.ts";
import { ExitClient } from "../platform/linux/exit_client.ts";
import { ExitServer, findObstacles } from "../platform/linux/exit_server.ts";
import { watchExit } from "../platform/linux/exit_watch.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import { applySubnets } from "../platform/linux/subnet_routes.ts";
import type { Log } from "./log.ts";

/** What the kernel shall do. */
export interface KernelWish {
  /** The way to an exit with its kill switch; null for none. */
  readonly client: ClientPlan | null;
  /** Networks behind routers; without force while there is a way to an exit. */
  readonly subnets: SubnetPlan;
  /** What this machine leads to; null for nothing. */
  readonly server: ServerPlan | null;
}

/** A change that failed is tried again after so long. */
const RETRY_MS = 2_000;

/** See the module's doc. */
export class ExitKernel {
  readonly #client: ExitClient;
  readonly #server: ExitServer;
  readonly #readiness: Readiness;
  readonly #log: Log;
  readonly #onChange: () => void;
  /** What is in force, as text, by part; absent before it is known. */
  readonly #inForce = new Map<string, string>();
  readonly #problems = new Map<string, string>();
  #obstacles: readonly Obstacle[] = [];
  #wish: KernelWish | null = null;
  #work: Promise<void> | null = null;
  #watch: { close(): void } | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  private constructor(
    client: ExitClient,
    server: ExitServer,
    { readiness, log, onChange }: { readiness: Readiness; log: Log; onChange: () => void },
  ) {
    this.#client = client;
    this.#server = server;
    this.#readiness = readiness;
    this.#log = log;
    this.#onChange = onChange;
  }

  /**
   * Takes responsibility; changes nothing.
   * @param folder State folder of the context.
   */
  static async open(
    folder: string,
    options: { readiness: Readiness; log: Log; onChange: () => void },
  ): Promise<ExitKernel> {
    const client = await ExitClient.open(folder);
    try {
      return new ExitKernel(client, await ExitServer.open(folder), options);
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Why something is not as it was asked for, or null. */
  get problem(): string | null {
    return [...this.#problems.values()][0] ?? null;
  }

  /** Chains of other programs that keep this machine from leading anywhere. */
  get obstacles(): readonly Obstacle[] {
    return this.#obstacles;
  }

  /** Sets what is wanted; resolves when that, or something wanted later, was tried. */
  want(wish: KernelWish): Promise<void> {
    this.#wish = wish;
    this.#work ??= this.#run().finally(() => this.#work = null);
    return this.#work;
  }

  /** The tunnel's interface or the network changed: what failed may work now. */
  retry(): void {
    if (this.#problems.size > 0 && this.#wish && !this.#isClosed) void this.want(this.#wish);
  }

  /**
   * Ends what leads others through this machine, and lets go. The way to the exit is undone only
   * when `opens` says so; else it stays closed, for a daemon that comes back.
   */
  async close(opens: boolean): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    await this.#work;
    this.#watch?.close();
    this.#watch = null;
    const ends: [string, () => Promise<void>][] = [
      ["server", () => this.#server.remove()],
      ...opens ? [["client", () => this.#client.remove()] as [string, () => Promise<void>]] : [],
    ];
    for (const [what, end] of ends) {
      await end().catch((error) =>
        this.#log("error", `Cannot undo the ${what} side of exits`, { why: errorMessage(error) })
      );
    }
    const { settings } = this.#wish?.subnets ?? {};
    if (settings) await applySubnets({ settings, rules: [], routes: [] }).catch(() => {});
    this.#client.close();
    this.#server.close();
  }

  async #run(): Promise<void> {
    for (let wish: KernelWish | null = null; wish !== this.#wish && !this.#isClosed;) {
      wish = this.#wish!;
      const { client, subnets, server } = wish;
      const none = { ...subnets, rules: [], routes: [] };
      // The kill switch closes before anything else, and opens before routes lead past it.
      await this.#apply("client", client, () => this.#applyClient(client));
      const routed = client === null ? subnets : none;
      await this.#apply("subnets", [routed.rules, routed.routes], () => applySubnets(routed));
      await this.#apply("server", server, () => this.#applyServer(server));
    }
    this.#onChange();
  }

  /** Changes a part unless it is so already; keeps what went wrong. */
  async #apply(
    part: string,
    plan: unknown,
    act: () => Promise<string | null | void>,
  ): Promise<void> {
    const text = JSON.stringify(plan);
    if (this.#inForce.get(part) === text && !this.#problems.has(part)) return;
    let problem: string | null;
    try {
      problem = await act() ?? null;
    } catch (error) {
      problem = errorMessage(error);
    }
    this.#inForce.set(part, text);
    if (problem === null) this.#problems.delete(part);
    else {
      if (this.#problems.get(part) !== problem) this.#log("warn", problem);
      this.#problems.set(part, problem);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.retry(), RETRY_MS);
    }
  }

  async #applyClient(plan: ClientPlan | null): Promise<string | null> {
    this.#watch?.close();
    this.#watch = null;
    if (plan === null) {
      await this.#client.remove();
      return null;
    }
    const { problem } = await this.#client.apply(plan);
    const watched = { filter: plan.filter.name, priority: plan.settings.priority };
    this.#watch = watchExit(this.#readiness, watched, () => this.#lost());
    return problem;
  }

  /** Another program removed a part of the way to the exit. */
  #lost(): void {
    this.#log("warn", "Another program removed rules of the exit; they are put back");
    this.#inForce.delete("client");
    if (this.#wish && !this.#isClosed) void this.want({ ...this.#wish });
  }

  async #applyServer(plan: ServerPlan | null): Promise<void> {
    this.#obstacles = [];
    if (plan === null) return await this.#server.remove();
    await this.#server.apply(plan);
    this.#obstacles = await findObstacles(plan);
    for (const { chain, allow } of this.#obstacles) {
      this.#log("warn", `Another program's rules stop what this node leads on`, { chain, allow });
    }
  }
}
