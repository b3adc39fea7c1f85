/**
 * How do mesh names reach this node's resolver where /etc/resolv.conf is all there is?
 *
 * The file is replaced by one that names this resolver, a copy is kept in the state folder first,
 * and the resolvers of the former file become the upstreams. When another program writes the file,
 * its text becomes the copy and the upstreams, and ours goes back in place, found by inotify at
 * once or by a look every second. At the end, or at the next start after a crash, the copy goes
 * back.
 *
 * Of several daemons one has the file at a time; the others wait and take it when it is let go
 * ({@link lockBackup}). Where that one is of another context of this machine, its resolver asks the
 * others'.
 * @module
 */
import { basename, dirname, join, resolve } from "node:path";
import { errorMessage, MeshError } from "../../errors.ts";
import { canonicalIp, type Ip } from "../../ip.ts";
import type { SystemDnsOptions } from "../types_dns.ts";
import {
  BACKUP_NAME,
  loadBackup,
  lockBackup,
  recoverFrom,
  restoreBackup,
  saveBackup,
} from "./dns_backup.ts";
import { Repairs } from "./dns_repairs.ts";
import { type Watch, watchFiles } from "./dns_watch.ts";
import { formatResolvConf, identifyWriter, parseMarker, parseResolvConf } from "./resolv_conf.ts";
import { ResolvConfFile, type ResolvConfState, textOf } from "./resolv_conf_file.ts";

/** How long a change that inotify does not see can go unnoticed. */
const POLL_MS = 1_000;
/** A program that writes in place first empties the file: look again after this. */
const SETTLE_MS = 40;
/** How long a file may stay without any nameserver before that counts as its writer's intention. */
const EMPTY_MS = 400;
/** Times that a file which changes while it is copied is copied anew. */
const MAX_ADOPTIONS = 3;

/** What a {@link FileDns} needs besides the common options. */
export interface FileDnsSettings {
  /** Absolute path of resolv.conf. */
  readonly path: string;
  /** Resolvers to use in place of systemd-resolved's stub, which would send questions back here. */
  readonly stubUpstreams: () => Promise<readonly Ip[]>;
  /** Whether names already reach this resolver through a file with these nameservers. */
  readonly isFine: (nameservers: readonly Ip[]) => boolean;
}

/** resolv.conf with this node's resolver in it; see the module's comment. */
export class FileDns {
  readonly repairs = new Repairs();
  readonly #options: SystemDnsOptions;
  readonly #settings: FileDnsSettings;
  readonly #addresses: readonly Ip[];
  readonly #file: ResolvConfFile;
  readonly #backupPath: string;
  #upstreams: readonly Ip[] = [];
  #userLines: readonly string[] = [];
  /** What is to be put back, while ours is in place. */
  #former: ResolvConfState | null = null;
  #lock: Deno.FsFile | null = null;
  #watch: Watch | null = null;
  #problem: string | null = null;
  #isShared = false;
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: SystemDnsOptions, settings: FileDnsSettings) {
    this.#options = options;
    this.#settings = settings;
    this.#addresses = options.addresses.map((ip) => canonicalIp(ip) ?? ip);
    this.#file = new ResolvConfFile(settings.path);
    this.#backupPath = join(resolve(options.stateDir), BACKUP_NAME);
  }

  /** Whether our file is in place. */
  get isInPlace(): boolean {
    return this.#former !== null;
  }

  /** Whether the file names the resolver of another context of this machine. */
  get isShared(): boolean {
    return this.#isShared;
  }

  /** Resolvers that the former file names. */
  get upstreams(): readonly Ip[] {
    return this.#upstreams;
  }

  /** Why our file is not in place though it should be, or null. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Puts back what a killed daemon left, and learns the upstreams. Never throws. */
  async inspect(): Promise<void> {
    try {
      await recoverFrom(this.#file, this.#backupPath, this.#addresses);
    } catch (error) {
      this.#options.log(errorMessage(error));
    }
    await this.#learn(await this.#file.read());
  }

  /**
   * Puts our file in place and keeps it there.
   * @throws {MeshError} `system`
   */
  async apply(): Promise<void> {
    await this.#inTurn(async () => {
      this.#lock ??= await this.#takeLock();
      await this.#assert();
    });
    this.#watch ??= watchFiles({
      directory: dirname(this.#file.path),
      names: [basename(this.#file.path)],
      everyMs: POLL_MS,
      look: () => this.#look(),
      log: this.#options.log,
    });
  }

  /** Puts the former file back. Never throws. */
  async restore(): Promise<void> {
    const watch = this.#watch;
    this.#watch = null;
    await watch?.end();
    await this.#inTurn(async () => {
      try {
        if (this.#lock !== null) await restoreBackup(this.#file, this.#backupPath);
      } catch (error) {
        this.#options.log(`${errorMessage(error)}; the former file is in ${this.#backupPath}`);
      }
      this.#former = null;
      this.#lock?.close();
      this.#lock = null;
    });
  }

  async #takeLock(): Promise<Deno.FsFile> {
    const lock = await lockBackup(this.#backupPath, { create: true });
    if (lock !== null && lock !== "held") return lock;
    throw new MeshError(
      "system",
      `Cannot change ${this.#file.path}: another daemon uses ${this.#options.stateDir}`,
    );
  }

  /** One look at the file by the watch. */
  async #look(): Promise<void> {
    try {
      await this.#inTurn(() => this.#assert());
    } catch (error) {
      this.#setProblem(errorMessage(error));
    }
  }

  /** Makes the file ours, unless it is, need not be, or another live daemon has it. */
  async #assert(): Promise<void> {
    let state = await this.#file.read();
    if (this.isInPlace) {
      await this.#followTarget();
      if (textOf(state) === this.#ourText()) return;
    }
    if (this.#watch !== null && !this.#isFine(state)) state = await this.#settled(state);
    const marker = parseMarker(textOf(state));
    if (this.#isFine(state)) return await this.#stepAside(state);
    if (marker !== null && marker.backup !== this.#backupPath) {
      const outcome = await recoverFrom(this.#file, marker.backup, this.#addresses);
      if (outcome === "held") {
        this.#former = null;
        this.#isShared = this.#namesContext(textOf(await this.#file.read()));
        if (this.#isShared) return void (this.#problem = null);
        return this.#setProblem(
          `Another TunnelMesh daemon has ${this.#file.path}; its copy is ${marker.backup}`,
        );
      }
      state = await this.#file.read();
    }
    this.#isShared = false;
    const wasInPlace = this.isInPlace;
    state = await this.#adopt(state);
    const ours: ResolvConfState = { kind: "file", text: this.#ourText() };
    if (textOf(state) !== ours.text || state.kind !== "file") await this.#file.write(ours);
    if (wasInPlace) this.#recordRepair(state);
    this.#problem = null;
  }

  /** Whether names reach this resolver without our file. */
  #isFine(state: ResolvConfState): boolean {
    const text = textOf(state);
    return parseMarker(text) === null && this.#settings.isFine(parseResolvConf(text).nameservers);
  }

  /** Whether a file leads to the resolver of a context that runs on this machine. */
  #namesContext(text: string): boolean {
    const { isContextResolver = () => false } = this.#options;
    return parseResolvConf(text).nameservers.some((ip) => isContextResolver(ip));
  }

  async #stepAside(state: ResolvConfState): Promise<void> {
    await this.#learn(state);
    if (this.isInPlace) await Deno.remove(this.#backupPath).catch(() => {});
    this.#former = null;
    this.#isShared = false;
    this.#problem = null;
  }

  /**
   * Takes what another program wrote as what to put back and whom to ask; returns what was taken.
   * What is written while the copy is being saved is taken in its place, so that little can be
   * lost.
   */
  async #adopt(first: ResolvConfState): Promise<ResolvConfState> {
    let state = first;
    for (let i = 0; i < MAX_ADOPTIONS; i++) {
      await this.#adoptOnce(state);
      const latest = await this.#file.read();
      if (isSame(latest, state)) break;
      state = latest;
    }
    return state;
  }

  async #adoptOnce(state: ResolvConfState): Promise<void> {
    const marker = parseMarker(textOf(state));
    const { nameservers } = parseResolvConf(textOf(state));
    if (marker?.backup === this.#backupPath) return await this.#adoptEdits(state, nameservers);
    // An emptied or removed file is damage: what was known before is the better copy.
    if (this.isInPlace && nameservers.length === 0) return;
    await this.#learn(state);
    await saveBackup(this.#backupPath, { path: this.#file.path, state });
    this.#former = state;
  }

  /** Keeps the nameservers that another program added to our file. */
  async #adoptEdits(state: ResolvConfState, nameservers: readonly Ip[]): Promise<void> {
    const former = this.#former ?? (await loadBackup(this.#backupPath))?.state ?? state;
    const known = [...this.#addresses, ...this.#upstreams];
    const added = nameservers.filter((ip) => !known.includes(ip));
    this.#upstreams = [...this.#upstreams, ...added];
    this.#former = former;
    if (added.length === 0 || former.kind !== "file") return;
    const lines = added.map((ip) => `nameserver ${ip}\n`).join("");
    const separator = former.text === "" || former.text.endsWith("\n") ? "" : "\n";
    this.#former = { kind: "file", text: former.text + separator + lines };
    await saveBackup(this.#backupPath, { path: this.#file.path, state: this.#former });
  }

  /** Follows changes of the file that the former symbolic link leads to. */
  async #followTarget(): Promise<void> {
    const former = this.#former;
    if (former?.kind !== "symlink") return;
    const text = await this.#file.targetText(former.target);
    if (text === null || text === former.text) return;
    if (parseResolvConf(text).nameservers.length === 0) return;
    this.#former = { ...former, text };
    await this.#learn(this.#former);
    await saveBackup(this.#backupPath, { path: this.#file.path, state: this.#former });
    await this.#file.write({ kind: "file", text: this.#ourText() });
  }

  async #learn(state: ResolvConfState): Promise<void> {
    const { nameservers, settings } = parseResolvConf(textOf(state));
    const all = [...nameservers, ...parseMarker(textOf(state))?.upstreams ?? []];
    const needsStub = all.length === 0 || all.some(isStub);
    const behindStub = needsStub ? await this.#settings.stubUpstreams() : [];
    const others = behindStub.length > 0 ? all.filter((ip) => !isStub(ip)) : all;
    const found = [...new Set([...others, ...behindStub])]
      .filter((ip) => !this.#addresses.includes(ip));
    // A file without nameservers is no reason to forget those that were known.
    if (found.length > 0) this.#upstreams = found;
    this.#userLines = settings;
  }

  /** Waits until a program that writes the file in steps is done. */
  async #settled(first: ResolvConfState): Promise<ResolvConfState> {
    let state = first;
    for (let waited = 0; waited < EMPTY_MS; waited += SETTLE_MS) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      const next = await this.#file.read();
      const isStable = isSame(next, state);
      state = next;
      if (isStable && parseResolvConf(textOf(state)).nameservers.length > 0) break;
    }
    return state;
  }

  #recordRepair(state: ResolvConfState): void {
    const target = state.kind === "symlink" ? state.target : null;
    const writer = identifyWriter(textOf(state), target);
    const who = writer === null || writer === "TunnelMesh" ? "Another program" : writer;
    const what = state.kind === "missing" ? "removed" : "changed";
    const repair = `${who} ${what} ${this.#file.path}; it was put right`;
    this.#options.log(repair);
    this.repairs.add(repair);
  }

  #setProblem(problem: string): void {
    if (problem !== this.#problem) this.#options.log(problem);
    this.#problem = problem;
  }

  #ourText(): string {
    const marker = { backup: this.#backupPath, upstreams: this.#upstreams };
    return formatResolvConf(this.#addresses, this.#userLines, marker);
  }

  /** Runs one change of the file at a time. */
  #inTurn(task: () => Promise<void>): Promise<void> {
    const result = this.#work.then(task);
    this.#work = result.catch(() => {});
    return result;
  }
}

function isSame(a: ResolvConfState, b: ResolvConfState): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Whether an address is systemd-resolved's own. */
export function isStub(ip: Ip): boolean {
  return ip === "127.0.0.53" || ip === "127.0.0.54";
}
