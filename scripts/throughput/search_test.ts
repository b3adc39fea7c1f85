import { strict as assert } from "node:assert";
import { type Burst, searchRate } from "./search.ts";

/** A tunnel that carries so much and a sender that sends so much, at most. */
function tunnel(capacity: number, senderLimit = Infinity): (rate: number) => Promise<Burst> {
  return (rate) => {
    const sent = Math.min(rate, senderLimit), received = Math.min(sent, capacity);
    return Promise.resolve({ sent, received, loss: 1 - received / sent });
  };
}

function assertNear(actual: number, expected: number): void {
  assert.ok(actual <= expected && actual > expected * 0.9, `${actual} is not near ${expected}`);
}

const CASES: [name: string, capacity: number][] = [
  ["far above the first rate", 900_000],
  ["just above the first rate", 41_000],
  ["just below the first rate", 39_000],
  ["far below the first rate", 1_500],
];

for (const [name, capacity] of CASES) {
  Deno.test(`searchRate() finds a capacity ${name}`, async () => {
    assertNear(await searchRate({ from: 40_000, bursts: 20 }, tunnel(capacity)), capacity);
  });
}

Deno.test("searchRate() reports what the sender can when the tunnel carries more", async () => {
  const rate = await searchRate({ from: 40_000, bursts: 20 }, tunnel(900_000, 200_000));
  assertNear(rate, 200_000);
});

Deno.test("searchRate() recovers from bursts that something else has spoilt", async () => {
  const send = tunnel(300_000);
  let burst = 0;
  const rate = await searchRate({ from: 40_000, bursts: 20 }, async (rate) => {
    burst++;
    return burst <= 2 || burst === 9 ? { sent: rate, received: 0, loss: 1 } : await send(rate);
  });
  assertNear(rate, 300_000);
});

Deno.test("searchRate() answers 0 when nothing comes through", async () => {
  assert.equal(await searchRate({ from: 40_000, bursts: 10 }, tunnel(0)), 0);
});
