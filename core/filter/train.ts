/**
 * The flow of the last packet, so that a train of packets of one flow is judged once a second.
 *
 * Packets that open or close a TCP connection, and fragments, are never passed over.
 * @module
 */
import { FRAGMENT, KEY, TCP_FLAG } from "./key.ts";

const CHANGES = TCP_FLAG.syn | TCP_FLAG.fin | TCP_FLAG.rst;
/** Words of a key that say which flow it is. */
const IDENTITY_WORDS = KEY.kind + 1;

/** One flow of one direction. */
export class Train {
  readonly #words = new Int32Array(IDENTITY_WORDS);
  #peer = -1;
  #now = 0;
  /** What was decided of it. */
  decision = 0;

  /** Whether a packet is of this flow, in the second in which it was judged. */
  has(peer: number, key: Int32Array, now: number): boolean {
    const words = this.#words;
    return peer === this.#peer && now === this.#now &&
      key[KEY.ports] === words[KEY.ports] &&
      key[KEY.source] === words[KEY.source] &&
      key[KEY.destination] === words[KEY.destination] &&
      key[KEY.protocol] === words[KEY.protocol] &&
      key[KEY.family] === words[KEY.family] &&
      key[KEY.kind] === words[KEY.kind] &&
      isPlain(key) &&
      (key[KEY.family] === 4 || hasRest(key, words));
  }

  /** Makes the flow of `key` this one. */
  keep(peer: number, key: Int32Array, now: number, decision: number): void {
    if (!isPlain(key)) return;
    for (let i = 0; i < IDENTITY_WORDS; i++) this.#words[i] = key[i]!;
    this.#peer = peer;
    this.#now = now;
    this.decision = decision;
  }

  /** Ends the train: rules or routes may be others. */
  forget(): void {
    this.#peer = -1;
  }
}

function isPlain(key: Int32Array): boolean {
  return (key[KEY.tcpFlags]! & CHANGES) === 0 && key[KEY.fragment] === FRAGMENT.none;
}

/** Whether the later words of IPv6 addresses are equal. */
function hasRest(key: Int32Array, words: Int32Array): boolean {
  return key[KEY.source + 1] === words[KEY.source + 1] &&
    key[KEY.source + 2] === words[KEY.source + 2] &&
    key[KEY.source + 3] === words[KEY.source + 3] &&
    key[KEY.destination + 1] === words[KEY.destination + 1] &&
    key[KEY.destination + 2] === words[KEY.destination + 2] &&
    key[KEY.destination + 3] === words[KEY.destination + 3];
}
