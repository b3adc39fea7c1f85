/**
 * Words that are appended one by one, in memory that grows.
 * @module
 */

const FIRST_ROOM = 4096;

/** See the module's doc. */
export class Words {
  #room = new Int32Array(FIRST_ROOM);
  length = 0;

  push(word: number): void {
    if (this.length === this.#room.length) this.#grow();
    this.#room[this.length++] = word;
  }

  set(at: number, word: number): void {
    this.#room[at] = word;
  }

  /** What was appended. */
  get all(): Int32Array {
    return this.#room.subarray(0, this.length);
  }

  #grow(): void {
    const room = new Int32Array(2 * this.#room.length);
    room.set(this.#room);
    this.#room = room;
  }
}
