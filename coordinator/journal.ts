/**
 * The registry over its file: what the coordinator starts from, and where commands go.
 * @module
 */
import { toHex } from "../core/bytes.ts";
import { errorMessage, MeshError } from "../core/errors.ts";
import type { Random } from "../core/random.ts";
import type { StateLog } from "../storage/state/state_log.ts";
import type { Log } from "./log.ts";
import { apply } from "./model/apply.ts";
import { type Journal, Registry } from "./model/registry.ts";
import { decodeCommand, decodeState, emptyState, encodeState, type State } from "./model/state.ts";

/** Commands after which a snapshot bounds what a start must replay. */
export const SNAPSHOT_EVERY = 1000;

/**
 * The state that the log holds, or that of a mesh that begins.
 * @throws {MeshError} `state-invalid`, `config-invalid`
 */
export function openRegistry(
  stateLog: StateLog,
  options: { readonly cidr4: string; readonly random: Random; readonly log: Log },
): Registry {
  const { snapshot, commands } = stateLog.load();
  let state = snapshot === null
    ? emptyState(toHex(options.random.bytes(16)), options.cidr4)
    : decodeState(snapshot);
  if (snapshot === null) stateLog.saveSnapshot(encodeState(state));
  for (const text of commands) state = replay(state, text);
  return new Registry(state, journalOf(stateLog, options.log));
}

function replay(state: State, text: string): State {
  const command = decodeCommand(text);
  try {
    return apply(state, command).state;
  } catch (cause) {
    const message = `Cannot replay a stored command: ${errorMessage(cause)}`;
    throw new MeshError("state-invalid", message, {
      cause,
      hint: "Restore the coordinator's data directory from a backup",
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
