/**
 * When should a file that others write be looked at again? At once when inotify reports it, and now
 * and then in any case: inotify does not see what is written through another mount.
 * @module
 */
import { basename } from "node:path";
import { errorMessage } from "../../errors.ts";

/** What to watch. */
export interface WatchOptions {
  readonly directory: string;
  /** Names in the directory that matter. */
  readonly names: readonly string[];
  /** Look at least this often, in milliseconds. */
  readonly everyMs: number;
  /** Looks; one call at a time. What it throws is its own business: it must not. */
  readonly look: () => Promise<void>;
  readonly log: (message: string) => void;
}

/** A look that no visible change calls for is this many times as rare, for it costs CPU time. */
const IDLE_FACTOR = 10;

/** A watch that is under way. */
export interface Watch {
  /** Ends it; nothing is pending when it resolves. */
  end(): Promise<void>;
}

/** Starts to watch. */
export function watchFiles(options: WatchOptions): Watch {
  let isEnded = false;
  let isWoken = false;
  let wake = () => {
    isWoken = true;
  };
  const watcher = openWatcher(options);
  const follow = async () => {
    if (watcher === null) return;
    for await (const event of watcher) {
      const isAbout = event.paths.some((path) => options.names.includes(basename(path)));
      if (isAbout && event.kind !== "access") wake();
    }
  };
  let seen = "";
  let skipped = 0;
  const loop = async () => {
    while (!isEnded) {
      if (!isWoken) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, options.everyMs);
          wake = () => {
            isWoken = true;
            clearTimeout(timer);
            resolve();
          };
        });
      }
      const print = fingerprint(options);
      const isQuiet = !isWoken && print === seen && ++skipped < IDLE_FACTOR;
      isWoken = false;
      if (isEnded || isQuiet) continue;
      skipped = 0;
      await options.look();
      seen = fingerprint(options);
    }
  };
  const done = Promise.all([loop(), follow()]);
  return {
    end: async () => {
      isEnded = true;
      wake();
      watcher?.close();
      await done;
    },
  };
}

/** What changes when one of the files does, at the price of one system call each. */
function fingerprint({ directory, names }: WatchOptions): string {
  return names.map((name) => {
    try {
      const { ino, mtime, size } = Deno.lstatSync(`${directory}/${name}`);
      return `${ino} ${mtime?.getTime()} ${size}`;
    } catch {
      return "none";
    }
  }).join();
}

function openWatcher(options: WatchOptions): Deno.FsWatcher | null {
  try {
    return Deno.watchFs(options.directory, { recursive: false });
  } catch (error) {
    options.log(`Cannot watch ${options.directory} by inotify: ${errorMessage(error)}`);
    return null;
  }
}
