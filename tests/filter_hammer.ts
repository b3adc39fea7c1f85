/**
 * A worker that reads and writes a flow table as fast as it can, for `filter_workers_test.ts`.
 * @module
 */
import { STATE } from "../core/filter/flow_state.ts";
import { FlowTable } from "../core/filter/flow_table.ts";
import { KEY, KEY_WORDS } from "../core/filter/key.ts";
import { SeededRandom } from "../core/random.ts";

/** What a worker is told. */
export interface HammerTask {
  readonly writes: boolean;
  readonly words: Int32Array;
  readonly seed: number;
  readonly rounds: number;
}

/** What a worker has seen. */
export interface HammerReport {
  readonly found: number;
  readonly created: number;
  /** Entries that were a mixture of two writes. */
  readonly torn: number;
}

/** More flows than one set has room for. */
const PORTS = 10;
const NOW = 5;

/** The state, generation and decision of a flow all tell its port and the same number. */
function hammer({ words, writes, seed, rounds }: HammerTask): HammerReport {
  const table = new FlowTable(words);
  const random = new SeededRandom(seed);
  const key = new Int32Array(KEY_WORDS);
  key[KEY.family] = 6;
  key[KEY.protocol] = 17;
  let [found, created, torn] = [0, 0, 0];
  for (let i = 0; i < rounds; i++) {
    const port = random.uint32() % PORTS;
    key[KEY.ports] = port << 16;
    key[KEY.source] = key[KEY.destination + 3] = port;
    table.aim(1, key, true);
    const turn = random.uint32() >>> 8;
    if (table.find(NOW)) {
      found++;
      const number = table.generation;
      const isWhole = number % PORTS === port && table.decision === -number &&
        table.state >>> STATE.fragmentShift === (number & 0xffff);
      if (!isWhole) torn++;
      // Some only read, so that they read much while others write.
      if (turn % 64 !== 0 && !writes) continue;
    }
    const base = turn & 0xffff;
    const number = base - base % PORTS + port;
    const state = (number & 0xffff) << STATE.fragmentShift;
    table.update(NOW, state, number, -number);
    if (!table.find(NOW) && table.create(NOW, state, number, -number)) created++;
  }
  return { found, created, torn };
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<HammerTask>) => void;
  postMessage(report: HammerReport): void;
};
scope.onmessage = ({ data }) => scope.postMessage(hammer(data));
