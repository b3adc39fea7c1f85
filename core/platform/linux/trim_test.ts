import assert from "node:assert/strict";
import { libc } from "./libc.ts";
import { isCleanFile, parseSmaps, trimMemory } from "./trim.ts";

// Opened here, once for the process, so that no test seems to leak it.
libc();

const SMAPS = `55d0a0000000-55d0a0100000 r-xp 00001000 fe:00 123   /usr/bin/deno
Size:               1024 kB
Rss:                 512 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d0a0100000-55d0a0102000 r--p 00101000 fe:00 123   /usr/bin/deno
Anonymous:             8 kB
55d0a0102000-55d0a0103000 rw-p 00103000 fe:00 123   /usr/bin/deno
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 00:00 0
Anonymous:             0 kB
`;

Deno.test("parseSmaps() reads place, rights, file and private pages of each mapping", () => {
  const [code, relocated, data, jit] = parseSmaps(SMAPS);
  assert.deepEqual(code, {
    start: 0x55d0a0000000n,
    length: 0x100000n,
    permissions: "r-xp",
    path: "/usr/bin/deno",
    anonymous: 0,
  });
  assert.deepEqual([code, relocated, data, jit].map((one) => isCleanFile(one!)), [
    true,
    false,
    false,
    false,
  ]);
});

Deno.test("trimMemory() drops code pages and the program goes on", () => {
  assert.ok(trimMemory() > 0);
  assert.equal([3, 1, 2].toSorted().join(), "1,2,3");
});
