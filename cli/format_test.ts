/**
 * Do figures and tables read well?
 * @module
 */
import assert from "node:assert/strict";
import {
  formatAge,
  formatBytes,
  formatBytesShort,
  formatCount,
  formatMeasured,
  formatRtt,
  formatShare,
  formatTable,
  formatTime,
  shorten,
  visibleWidth,
  wrapText,
} from "./format.ts";

const CASES: [actual: string, expected: string][] = [
  [formatBytes(0), "0 B"],
  [formatBytes(1023), "1023 B"],
  [formatBytes(1024), "1.0 KiB"],
  [formatBytes(10_189), "10 KiB"],
  [formatBytes(1_047_000), "1022 KiB"],
  [formatBytes(1_048_575), "1.0 MiB"],
  [formatBytes(5.5 * 2 ** 30), "5.5 GiB"],
  [formatBytesShort(0), "0"],
  [formatBytesShort(1_258_291), "1.2M"],
  [formatAge(-5), "0s"],
  [formatAge(41_900), "41s"],
  [formatAge(60_000), "1m"],
  [formatAge(7_200_000), "2h"],
  [formatAge(8_040_000), "2h 14m"],
  [formatAge(4 * 86_400_000 + 3_600_000), "4d 1h"],
  [formatAge(400 * 86_400_000), "400d"],
  [formatRtt(0.314), "0.31 ms"],
  [formatRtt(12.44), "12.4 ms"],
  [formatRtt(240.4), "240 ms"],
  [formatShare(0), "0%"],
  [formatShare(0.0004), "<0.1%"],
  [formatShare(0.0123), "1.2%"],
  [formatShare(1), "100%"],
  [formatMeasured({ value: 12, ageMs: 3000 }, formatRtt), "12.0 ms (3s)"],
  [formatMeasured(null, formatRtt), "-"],
  [formatCount(1, "peer"), "1 peer"],
  [formatCount(0, "peer"), "0 peers"],
  [formatTime(Date.UTC(2026, 7, 1, 12, 30, 59)), "2026-08-01 12:30 UTC"],
  [shorten("[2001:db8::1]:51820", 11), "[2001…51820"],
  [shorten("short", 11), "short"],
];

for (const [actual, expected] of CASES) {
  Deno.test(`format: ${expected}`, () => assert.equal(actual, expected));
}

const COLUMNS = [
  { title: "Name" },
  { title: "Endpoint", shrinksTo: 8 },
  { title: "RTT", align: "right" as const },
];

Deno.test("formatTable() aligns columns by what is visible", () => {
  const green = "\x1b[32mup\x1b[39m";
  assert.equal(visibleWidth(green), 2);
  assert.deepEqual(formatTable(COLUMNS, [[green, "a", "9 ms"], ["longer", "b", "10 ms"]], 80), [
    "NAME    ENDPOINT    RTT",
    `${green}      a          9 ms`,
    "longer  b         10 ms",
  ]);
});

Deno.test("formatTable() shortens columns that allow it when lines are too long", () => {
  const lines = formatTable(COLUMNS, [["anna", "[2001:db8::1234]:51820", "9 ms"]], 26);
  assert.deepEqual(lines, ["NAME  ENDPOINT         RTT", "anna  [2001:d…:51820  9 ms"]);
  assert(lines.every((line) => visibleWidth(line) <= 26));
});

Deno.test("wrapText() breaks at words and keeps line breaks", () => {
  assert.deepEqual(wrapText("one two three\nfour", 8), ["one two", "three", "four"]);
});
