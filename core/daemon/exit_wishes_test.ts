import assert from "node:assert/strict";
import { type ExitWishes, ExitWishesFile, NO_WISHES } from "./exit_wishes.ts";
import { StateDir } from "./state_dir.ts";

async function withState(run: (state: StateDir) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    using state = await StateDir.open(`${folder}/state`);
    await run(state);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const HOME: ExitWishes = {
  use: { exits: ["home"], onLoss: "block", lan: false },
  offer: { isExit: false, routes: [{ prefix: "192.168.7.0/24" }] },
};

Deno.test("ExitWishesFile keeps what a command chose over restarts, until the configuration changes", () =>
  withState(async (state) => {
    const first = await ExitWishesFile.open(state, HOME);
    assert.deepEqual([first.use, first.offer], [HOME.use, HOME.offer]);
    await first.chooseUse({ ...HOME.use, exits: ["office"] });
    assert.deepEqual(first.use.exits, ["office"]);

    const again = await ExitWishesFile.open(state, HOME);
    assert.deepEqual(again.use.exits, ["office"]);
    // The other wish is not touched by it.
    assert.deepEqual(again.offer, HOME.offer);
    const other = { ...HOME, use: { ...HOME.use, exits: ["hotel"] } };
    assert.deepEqual((await ExitWishesFile.open(state, other)).use.exits, ["hotel"]);
    // A configuration that says the same again means the choice made then.
    assert.deepEqual((await ExitWishesFile.open(state, HOME)).use.exits, ["office"]);

    await again.chooseOffer({ isExit: true, routes: [] });
    const last = await ExitWishesFile.open(state, HOME);
    assert.deepEqual(last.offer, { isExit: true, routes: [] });
  }));

Deno.test("ExitWishesFile.forgetUse() takes a chosen exit back and leaves the rest", () =>
  withState(async (state) => {
    await ExitWishesFile.forgetUse(state);
    const file = await ExitWishesFile.open(state, NO_WISHES);
    assert.deepEqual(file.use, NO_WISHES.use);
    await file.chooseUse({ exits: ["home"], onLoss: "next", lan: true });
    await file.chooseOffer(HOME.offer);
    await ExitWishesFile.forgetUse(state);
    const after = await ExitWishesFile.open(state, NO_WISHES);
    assert.deepEqual(after.use, { exits: [], onLoss: "next", lan: true });
    assert.deepEqual(after.offer, HOME.offer);
  }));
