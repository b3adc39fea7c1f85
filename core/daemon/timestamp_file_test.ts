import assert from "node:assert/strict";
import { isNewer } from "../wireguard/tai64n.ts";
import { StateDir } from "./state_dir.ts";
import { TimestampFile } from "./timestamp_file.ts";

const HOUR = 3_600_000;

Deno.test("TimestampFile never goes back, over restarts with a clock an hour behind", async () => {
  const path = await Deno.makeTempDir();
  try {
    using state = await StateDir.open(path);
    let wall = 1_800_000_000_000;
    const first = await TimestampFile.open(state, () => wall);
    const sent = [first.next(), first.next()];
    assert.ok(isNewer(sent[1]!, sent[0]!));
    // Writes keep their order, so the reservation is on disk when this one is.
    await state.writeJson("settled", {});

    wall -= HOUR;
    const second = await TimestampFile.open(state, () => wall);
    assert.ok(isNewer(second.next(), sent[1]!), "a restart with an old clock is newer");
    await state.writeJson("settled", {});
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});
