/**
 * Processor time and memory of processes and of the whole machine, from /proc (proc(5)).
 * @module
 */
import { descendants } from "../../tests/e2e/lab/process.ts";

/** The kernel counts processor time here in units of 1/100 s on every architecture. */
const TICKS_PER_SECOND = 100;

/** Processor seconds since some point in the past. */
export interface CpuTime {
  /** User and system time of the processes that were asked for, with all their threads. */
  readonly processes: number;
  /**
   * Everything but idling on all processors, interrupts included, and what the hypervisor took: the
   * time of processes includes that too.
   */
  readonly machine: number;
}

/** Processor time used so far by processes with their descendants, and by the machine. */
export function readCpuTime(pids: readonly number[]): CpuTime {
  const own = withDescendants(pids).map((pid) => parseProcessCpu(readProc(`${pid}/stat`)));
  return {
    processes: own.reduce((sum, seconds) => sum + seconds, 0),
    machine: parseMachineCpu(readProc("stat")).busy,
  };
}

/** Resident memory in bytes of a process with its descendants. */
export function residentBytes(pid: number): number {
  const texts = withDescendants([pid]).map((each) => readProc(`${each}/status`));
  return texts.reduce((sum, text) => sum + 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]), 0);
}

/** What else went on on the machine since this was made: a measure of how far to trust the others. */
export class Disturbance {
  readonly #startedAt = performance.now();
  readonly #machine = parseMachineCpu(readProc("stat"));
  readonly #own = parseOwnCpu(readProc("self/stat"));

  /**
   * Shares of all processors, in percent: what the hypervisor gave to others, and what programs here
   * used that this one did not start. What this one did start must have ended.
   */
  percent(): { readonly stolen: number; readonly others: number } {
    const seconds = (performance.now() - this.#startedAt) / 1000 * navigator.hardwareConcurrency;
    const now = parseMachineCpu(readProc("stat"));
    const busy = now.busy - this.#machine.busy, stolen = now.stolen - this.#machine.stolen;
    const own = parseOwnCpu(readProc("self/stat")) - this.#own;
    return {
      stolen: stolen / seconds * 100,
      others: Math.max(0, busy - stolen - own) / seconds * 100,
    };
  }
}

/** Seconds that a process and its descendants have used, as far as those have ended. */
export function parseOwnCpu(stat: string): number {
  return ticksOf(stat, [11, 12, 13, 14]) / TICKS_PER_SECOND;
}

/** Seconds in `utime` and `stime` of /proc/PID/stat, which count all threads. */
export function parseProcessCpu(stat: string): number {
  return ticksOf(stat, [11, 12]) / TICKS_PER_SECOND;
}

/** Sums fields of /proc/PID/stat, counted from the third one. */
function ticksOf(stat: string, indexes: readonly number[]): number {
  // The second field, the program's name, may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return indexes.reduce((sum, index) => sum + Number(fields[index]), 0);
}

/** Seconds in the first line of /proc/stat, over all processors. */
export function parseMachineCpu(stat: string): { readonly busy: number; readonly stolen: number } {
  const [user = 0, nice = 0, system = 0, _idle, _ioWait, irq = 0, softIrq = 0, stolen = 0] = stat
    .split("\n")[0]!.trim().split(/\s+/).slice(1).map((ticks) => Number(ticks) / TICKS_PER_SECOND);
  return { busy: user + nice + system + irq + softIrq + stolen, stolen };
}

function withDescendants(pids: readonly number[]): number[] {
  return pids.flatMap((pid) => [pid, ...descendants(pid)]);
}

function readProc(path: string): string {
  return Deno.readTextFileSync(`/proc/${path}`);
}
