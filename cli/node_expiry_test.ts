import assert from "node:assert/strict";
import { DAY_MS } from "../core/state/expiry.ts";
import { absenceOf, expiryShown, parseAbsence } from "./node_expiry.ts";

const NOW = 1_800_000_000_000;
const PAINT = { red: (text: string) => `red ${text}`, yellow: (text: string) => `yellow ${text}` };

const SHOWN: [left: number | null, online: boolean, text: string | RegExp][] = [
  [null, false, "never"],
  [100 * DAY_MS, false, /^20\d\d-.* UTC$/],
  [6.5 * DAY_MS, false, "yellow in 6 days"],
  [6.5 * DAY_MS, true, /^20\d\d-.* UTC$/],
  [DAY_MS / 2, false, "red in 12 hours"],
  [90_000, false, "red in 1 minute"],
  [0, false, "red expired"],
];

for (const [left, online, text] of SHOWN) {
  Deno.test(`expiryShown() with ${left} ms left, ${online ? "online" : "offline"}`, () => {
    const expiresAt = left === null ? null : NOW + left;
    const shown = expiryShown({ expiresAt, online }, NOW, PAINT);
    if (typeof text === "string") assert.equal(shown, text);
    else assert.match(shown, text);
  });
}

Deno.test("parseAbsence() and absenceOf() speak of the same times", () => {
  assert.equal(parseAbsence(undefined, 5), 5);
  assert.equal(absenceOf(parseAbsence("never", 5)), "never expires");
  assert.equal(absenceOf(parseAbsence("36h", null)), "expires when it is away for 1.5 days");
  assert.equal(absenceOf(parseAbsence("1d", null)), "expires when it is away for 1 day");
});
