/**
 * Sets of rules as bits, numbered in the order in which rules decide: those that deny first, each
 * kind as it was given. So the first bit of a set is the rule that decides where all of it match.
 * @module
 */
import type { FilterRule } from "./rules.ts";

/** A bit for each rule. */
export type RuleSet = Int32Array<ArrayBuffer>;

const BITS = 32;

/** Rules in the order in which they decide, and sets of them. */
export class RuleOrder {
  /** Index of each rule, by its number. */
  readonly indices: readonly number[];
  readonly #numbers: Int32Array;

  constructor(rules: readonly FilterRule[]) {
    const denies = (index: number) => rules[index]!.action === "deny";
    const all = rules.map((_, index) => index);
    this.indices = [...all.filter(denies), ...all.filter((index) => !denies(index))];
    this.#numbers = new Int32Array(rules.length);
    this.indices.forEach((index, number) => this.#numbers[index] = number);
  }

  /** A set without rules. */
  empty(): RuleSet {
    return new Int32Array(Math.ceil(this.indices.length / BITS));
  }

  /** Puts the rule of an index into a set. */
  add(set: RuleSet, index: number): void {
    const number = this.#numbers[index]!;
    set[number >>> 5]! |= 1 << (number & 31);
  }

  /** The rules of which `test` is true. */
  where(rules: readonly FilterRule[], test: (rule: FilterRule) => boolean): RuleSet {
    const set = this.empty();
    rules.forEach((rule, index) => test(rule) && this.add(set, index));
    return set;
  }
}

/** Writes what two sets share into `out`. */
export function intersectInto(out: RuleSet, a: RuleSet, b: RuleSet): void {
  for (let i = 0; i < out.length; i++) out[i] = a[i]! & b[i]!;
}

/** The first number that is in both sets and not below `from`, or -1. */
export function nextInBoth(a: RuleSet, b: RuleSet, from: number): number {
  let mask = -1 << (from & 31);
  for (let i = from >>> 5; i < a.length; i++) {
    const word = a[i]! & b[i]! & mask;
    if (word !== 0) return BITS * i + 31 - Math.clz32(word & -word);
    mask = -1;
  }
  return -1;
}

/** Text that only equal sets have. */
export function nameOf(set: RuleSet): string {
  let name = "";
  for (const word of set) name += String.fromCharCode(word & 0xffff, word >>> 16);
  return name;
}
