/**
 * Which addresses are in none of these prefixes? As ranges from first to last, for a packet filter
 * in which what refuses always wins over what permits, so that an exception has to be left out.
 * @module
 */
import { formatIp, type Prefix } from "../ip.ts";
import type { Family } from "./routing.ts";

/** Ranges `first-last`, or the one address, in ascending order; of prefixes of one family. */
export function rangesWithout(family: Family, excluded: readonly Prefix[]): string[] {
  const bits = family === 4 ? 32 : 128;
  const last = (1n << BigInt(bits)) - 1n;
  const taken = excluded.filter(({ bytes }) => bytes.length * 8 === bits).map((prefix) => {
    const from = numberOf(prefix.bytes);
    return { from, to: from + (1n << BigInt(bits - prefix.bits)) - 1n };
  }).sort((a, b) => a.from < b.from ? -1 : a.from > b.from ? 1 : 0);
  const ranges: string[] = [];
  let next = 0n;
  for (const { from, to } of [...taken, { from: last + 1n, to: last + 1n }]) {
    if (from > next) ranges.push(rangeText(next, from - 1n, bits));
    if (to >= next) next = to + 1n;
  }
  return ranges;
}

/** Ports in none of these, as ranges; all of them for none. */
export function portsWithout(ports: readonly number[]): string[] {
  const ranges: string[] = [];
  let next = 0;
  for (const port of [...ports, 65_536].sort((a, b) => a - b)) {
    if (port > next) ranges.push(port - 1 === next ? `${next}` : `${next}-${port - 1}`);
    next = Math.max(next, port + 1);
  }
  return ranges;
}

function rangeText(from: bigint, to: bigint, bits: number): string {
  const first = textOf(from, bits);
  return from === to ? first : `${first}-${textOf(to, bits)}`;
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((number, byte) => number << 8n | BigInt(byte), 0n);
}

function textOf(number: bigint, bits: number): string {
  const hex = number.toString(16).padStart(bits / 4, "0");
  return formatIp(Uint8Array.fromHex(hex));
}
