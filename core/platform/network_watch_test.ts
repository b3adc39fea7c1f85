import assert from "node:assert/strict";
import type { Readiness } from "./linux/readiness.ts";
import { watchNetwork } from "./network_watch.ts";

const WITHOUT_READINESS = {} as Readiness;
const FOREIGN = [
  ["darwin", /^Cannot open the system library: /],
  ["windows", /^Cannot open the system libraries: /],
] as const;

for (const [os, message] of FOREIGN) {
  Deno.test(`watchNetwork() says what it cannot do where it only claims to be ${os}`, () => {
    if (Deno.build.os === os) return console.log(`SKIP: watchNetwork() elsewhere: this is ${os}`);
    const unexpected = () => assert.fail("nothing is watched");
    const options = { ignoreInterface: "mesh0", onChange: unexpected, onFailure: unexpected };
    assert.throws(() => watchNetwork(WITHOUT_READINESS, options, os), {
      name: "MeshError",
      code: "unsupported",
      message,
    });
  });
}
