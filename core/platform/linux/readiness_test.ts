import assert from "node:assert/strict";
import { libc, WakeFd } from "./libc.ts";
import { libcControl } from "./libc_control.ts";
import { Readiness } from "./readiness.ts";

const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
if (mayLoad) {
  libc();
  libcControl();
}

/** Lets timers and other threads have their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

async function until(isDone: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !isDone(); i++) await turn();
  assert.ok(isDone());
}

/** Registers a test that needs real descriptors. */
function fdTest(name: string, run: (readiness: Readiness) => Promise<void>): void {
  Deno.test(name, async () => {
    if (!mayLoad) return console.log(`SKIP: ${name}: needs --allow-ffi`);
    const readiness = new Readiness();
    try {
      await run(readiness);
    } finally {
      await readiness.shutdown();
    }
  });
}

fdTest("Readiness calls the function of what can be read, until it was read", async (readiness) => {
  const fds = Array.from({ length: 100 }, () => new WakeFd());
  const calls = fds.map(() => 0);
  fds.forEach((each, i) =>
    readiness.add(each.fd, () => {
      if (++calls[i]! === 3) each.drain();
    })
  );
  for (const i of [0, 50, 99]) fds[i]!.wake();
  await until(() => calls.reduce((sum, count) => sum + count, 0) === 9);
  const before = readiness.wakeUps;
  for (let i = 0; i < 20; i++) await turn();
  assert.equal(readiness.wakeUps, before, "nothing wakes it any more");
  assert.deepEqual([calls[0], calls[1], calls[50], calls[99]], [3, 0, 3, 3]);
  for (const each of fds) {
    readiness.remove(each.fd);
    each.close();
  }
});

fdTest(
  "Readiness forgets what is removed, also by a function of the same turn",
  async (readiness) => {
    const [first, second] = [new WakeFd(), new WakeFd()];
    let calls = 0;
    const removeBoth = () => {
      calls++;
      for (const { fd } of [first, second]) readiness.remove(fd);
    };
    for (const each of [first, second]) {
      readiness.add(each.fd, removeBoth);
      each.wake();
    }
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(calls, 1);
    readiness.remove(first.fd);
    readiness.add(first.fd, removeBoth);
    await until(() => calls === 2);
    for (const each of [first, second]) each.close();
  },
);

fdTest("Readiness takes no descriptor twice, and none after shutdown()", async (readiness) => {
  const wake = new WakeFd();
  readiness.add(wake.fd, () => {});
  assert.throws(() => readiness.add(wake.fd, () => {}), { name: "AssertionError" });
  await Promise.all([readiness.shutdown(), readiness.shutdown()]);
  readiness.remove(wake.fd);
  assert.throws(() => readiness.add(wake.fd, () => {}), { name: "AssertionError" });
  wake.close();
});
