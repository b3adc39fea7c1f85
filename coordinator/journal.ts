/**
 * The registry and the mesh's log over their files: what the coordinator starts from, and where
 * commands and entries go.
 * @module
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fromHex, toHex } from "../core/bytes.ts";
import { errorMessage, MeshError } from "../core/errors.ts";
import { type Identity, identityFromSeed, KEY_BYTES } from "../core/identity/keys.ts";
import { LogFile } from "../core/platform/log_file.ts";
import type { Random } from "../core/random.ts";
import { beginMesh } from "../core/state/bootstrap.ts";
import { decodeImage } from "../core/state/codec.ts";
import type { SignedEntry } from "../core/state/entry.ts";
import type { StateLog } from "../storage/state/state_log.ts";
import type { Follower } from "./follower.ts";
import type { Log } from "./log.ts";
import { apply } from "./model/apply.ts";
import { dismissRevoked } from "./model/log_desk.ts";
import { Mesh } from "./model/mesh.ts";
import { type Journal, Registry } from "./model/registry.ts";
import { decodeCommand, decodeState, emptyState, encodeState, type State } from "./model/state.ts";

const LOG_FILE = "mesh.log";
const KEY_FILE = "coordinator.key";
const RESTORE = "Restore the coordinator's data directory from a backup";

/** Commands after which a snapshot bounds what a start must replay. */
export const SNAPSHOT_EVERY = 1000;

/** What a coordinator goes on from. */
export interface Opened {
  readonly registry: Registry;
  readonly mesh: Mesh;
  readonly logFile: LogFile;
}

export interface OpenOptions {
  /** Folder of the coordinator's files. */
  readonly dataDir: string;
  /** For a mesh that begins. */
  readonly cidr4: string;
  readonly random: Random;
  /** Wall time in milliseconds. */
  readonly wallTime: number;
  readonly log: Log;
  /** For a mesh that another coordinator leads, whose log is there already. */
  readonly follower?: Follower | null;
}

/**
 * What the coordinator's files hold, or a mesh that begins.
 * @throws {MeshError} `state-invalid`, `config-invalid`
 */
export function openRegistry(stateLog: StateLog, options: OpenOptions): Opened {
  const { dataDir, cidr4, random, log, follower } = options;
  const { snapshot, commands } = stateLog.load();
  let state = snapshot === null ? null : decodeState(snapshot);
  if (state === null && !follower) expectNoMesh(`${dataDir}/${LOG_FILE}`);
  const identity = coordinatorKey(dataDir, random, { isNew: state === null });
  const meshId = state?.meshId ?? follower?.meshId;
  const logFile = meshId === undefined
    ? beginLog(identity, options)
    : openLog(`${dataDir}/${LOG_FILE}`, meshId);
  const { cutBytes } = logFile;
  // What it may have lost comes back from any node that has it.
  if (cutBytes > 0) log("warn", "Cut a damaged end off the mesh's log", { cutBytes });
  state ??= emptyState(logFile.log.meshId, follower?.cidr4 ?? cidr4);
  if (snapshot === null) stateLog.saveSnapshot(encodeState(state));
  for (const text of commands) state = replay(state, text);
  const keep = (entries: readonly SignedEntry[]) => logFile.append(entries);
  const mesh = new Mesh({ log: logFile.log, identity, keep });
  const registry = new Registry(state, journalOf(stateLog, log));
  // The log is written first: a crash may have left someone here whom it has revoked.
  dismissRevoked(mesh, registry, Math.floor(options.wallTime));
  return { registry, mesh, logFile };
}

/** A log that outlived the registry must not be written over by a mesh that begins. */
function expectNoMesh(path: string): void {
  if (!existsSync(path) || decodeImage(readFileSync(path)).frames <= 1) return;
  const why = `${path} holds one already, but the coordinator's state.db is gone`;
  throw new MeshError("state-invalid", `Cannot begin a mesh: ${why}`, { hint: RESTORE });
}

/** The key that the coordinator signs with, made for a mesh that begins. */
function coordinatorKey(
  dataDir: string,
  random: Random,
  { isNew }: { readonly isNew: boolean },
): Identity {
  const path = `${dataDir}/${KEY_FILE}`;
  if (isNew) {
    const seed = random.bytes(KEY_BYTES);
    writeFileSync(path, toHex(seed) + "\n", { mode: 0o600, flush: true });
    return identityFromSeed(seed);
  }
  try {
    return identityFromSeed(fromHex(readFileSync(path, "utf8").trim()));
  } catch (cause) {
    throw new MeshError("state-invalid", `Cannot read the coordinator's key ${path}`, {
      cause,
      hint: RESTORE,
    });
  }
}

function beginLog(identity: Identity, { dataDir, random, wallTime }: OpenOptions): LogFile {
  const log = beginMesh(identity, toHex(random.bytes(16)), Math.floor(wallTime));
  return LogFile.create(`${dataDir}/${LOG_FILE}`, log);
}

function openLog(path: string, meshId: string): LogFile {
  const opened = LogFile.open(path, meshId);
  if (opened) return opened;
  throw new MeshError("state-invalid", `Cannot open the mesh's log: ${path} is gone`, {
    hint: RESTORE,
  });
}

function replay(state: State, text: string): State {
  const command = decodeCommand(text);
  try {
    return apply(state, command).state;
  } catch (cause) {
    const message = `Cannot replay a stored command: ${errorMessage(cause)}`;
    throw new MeshError("state-invalid", message, {
      cause,
      hint: RESTORE,
    });
  }
}

function journalOf(stateLog: StateLog, log: Log): Journal {
  return {
    append: (command, state) => {
      try {
        stateLog.append(JSON.stringify(command));
      } catch (cause) {
        throw new MeshError("system", `Cannot keep the change: ${errorMessage(cause)}`, {
          cause,
          hint: "Check the free space where the coordinator keeps its data",
        });
      }
      // The command is safe by now; without a snapshot the next start only takes longer.
      if (stateLog.sinceSnapshot < SNAPSHOT_EVERY) return;
      try {
        stateLog.saveSnapshot(encodeState(state));
      } catch (error) {
        log("error", "Cannot write a snapshot", { why: errorMessage(error) });
      }
    },
  };
}
