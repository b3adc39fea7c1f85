/**
 * Named contexts: one per mesh that this user's machine belongs to, one of them active.
 *
 * They are kept in `~/.tunnelmesh/contexts.json`, and say which coordinator, configuration file and
 * state directory belong to a name.
 * @module
 */
import { z } from "zod";
import { nearest } from "../core/config/nearest.ts";
import { MeshError } from "../core/errors.ts";
import { readIfPresent, replaceFile } from "./files.ts";
import type { Host } from "./host.ts";
import { contextsPath, DEFAULT_CONTEXT } from "./paths.ts";

/** A name that is safe as part of paths and interface names. */
const ContextName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/);

const Entry = z.object({
  server: z.string().nullable().default(null),
  config: z.string().nullable().default(null),
  identity: z.string().nullable().default(null),
  stateDir: z.string().nullable().default(null),
  socket: z.string().nullable().default(null),
  node: z.string().nullable().default(null),
});

const File = z.object({
  version: z.literal(1),
  active: ContextName.nullable(),
  contexts: z.record(ContextName, Entry),
});

/** The default context's coordinator has that folder. */
const RESERVED: readonly string[] = ["coordinator"];

/** What belongs to a context; null where the default applies. Paths are absolute. */
export interface ContextEntry {
  /** URL of its coordinator. */
  readonly server: string | null;
  readonly config: string | null;
  readonly identity: string | null;
  readonly stateDir: string | null;
  readonly socket: string | null;
  /** This node's name in that mesh. */
  readonly node: string | null;
}

/** A context with its name, as `context list` shows it. */
export interface NamedContext extends ContextEntry {
  readonly name: string;
  readonly isActive: boolean;
}

const EMPTY: ContextEntry = {
  server: null,
  config: null,
  identity: null,
  stateDir: null,
  socket: null,
  node: null,
};

/** @throws {MeshError} `usage` unless `name` can name a context. */
export function checkContextName(name: string): string {
  if (RESERVED.includes(name)) {
    throw new MeshError("usage", `Cannot use context "${name}": the name has a meaning of its own`);
  }
  if (ContextName.safeParse(name).success) return name;
  throw new MeshError("usage", `Cannot use context "${name}": it is not a valid name`, {
    hint: "A name is 1 to 32 letters, digits, hyphens and underscores, a letter or digit first",
  });
}

/** The contexts of one user. */
export class Contexts {
  readonly #host: Host;
  #active: string | null;
  readonly #entries: Map<string, ContextEntry>;

  private constructor(host: Host, active: string | null, entries: Map<string, ContextEntry>) {
    this.#host = host;
    this.#active = active;
    this.#entries = entries;
  }

  /** @throws {MeshError} `state-invalid` when the file is damaged. */
  static load(host: Host): Contexts {
    const path = contextsPath(host);
    const text = readIfPresent(path);
    if (text === null) return new Contexts(host, null, new Map());
    let file: z.infer<typeof File>;
    try {
      file = File.parse(JSON.parse(text));
    } catch (cause) {
      throw new MeshError("state-invalid", `Cannot read contexts: ${path} is damaged`, {
        cause,
        hint: "Move the file away; `tunnelmesh context create` makes contexts anew",
      });
    }
    return new Contexts(host, file.active, new Map(Object.entries(file.contexts)));
  }

  /**
   * The context that a command means: `chosen` by option or environment, else the active one, else
   * `default`.
   */
  current(chosen: string | null): string {
    return chosen === null ? this.#active ?? DEFAULT_CONTEXT : checkContextName(chosen);
  }

  /** What is known of a context; nothing when it was never made. */
  entry(name: string): ContextEntry {
    return this.#entries.get(name) ?? EMPTY;
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** All, by name. */
  list(): NamedContext[] {
    const names = [...this.#entries.keys()].sort();
    return names.map((name) => ({
      name,
      isActive: name === this.#active,
      ...this.#entries.get(name)!,
    }));
  }

  /** Name of the active one, or null before there is any. */
  get active(): string | null {
    return this.#active;
  }

  /** @throws {MeshError} `context-unknown`, naming the nearest one. */
  get(name: string): NamedContext {
    const entry = this.#entries.get(name);
    if (entry) return { name, isActive: name === this.#active, ...entry };
    const suggestion = nearest(name, this.#entries.keys());
    throw new MeshError("context-unknown", `Cannot find context "${name}": there is none`, {
      hint: suggestion
        ? `Did you mean "${suggestion}"?`
        : "`tunnelmesh context list` shows the contexts there are",
    });
  }

  /** The same as the file says now; null when it is damaged. */
  readActive(): string | null {
    try {
      return Contexts.load(this.#host).active;
    } catch {
      return null;
    }
  }

  /** Makes or changes a context and saves; the first one becomes active. */
  put(name: string, changes: Partial<ContextEntry>): void {
    this.#entries.set(checkContextName(name), { ...this.entry(name), ...changes });
    this.#active ??= name;
    this.#save();
  }

  /** Makes a context active and saves. @throws {MeshError} `context-unknown` */
  use(name: string): void {
    this.#active = this.get(name).name;
    this.#save();
  }

  /** Forgets a context and saves; its files stay. @throws {MeshError} `context-unknown` */
  remove(name: string): void {
    this.get(name);
    this.#entries.delete(name);
    if (this.#active === name) this.#active = null;
    this.#save();
  }

  #save(): void {
    const file = {
      version: 1,
      active: this.#active,
      contexts: Object.fromEntries(this.#entries),
    };
    const text = JSON.stringify(file, null, 2) + "\n";
    replaceFile(contextsPath(this.#host), text, { owner: this.#host.owner });
  }
}
