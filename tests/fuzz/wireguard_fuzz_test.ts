/**
 * Whatever bytes reach the session machine, and in whatever order its events come: it never throws,
 * installs no key for a stranger, and keeps its slots in order.
 *
 * A failure names the seed and the run; a seed always gives the same runs.
 * @module
 */
import assert from "node:assert/strict";
import { concatBytes } from "../../core/bytes.ts";
import { KEYPAIR_SLOT_BITS } from "../../core/wireguard/constants.ts";
import { CookieJar } from "../../core/wireguard/cookie.ts";
import { Device, type DeviceEffect, type DeviceEvent } from "../../core/wireguard/device.ts";
import { COOKIE, INITIATION, RESPONSE } from "../../core/wireguard/messages.ts";
import { TimestampSource } from "../../core/wireguard/tai64n.ts";
import { SeededRandom } from "../../core/random.ts";

const DATAGRAMS = 100_000;
const EVENTS = 4_000;
const WALL = 1_700_000_000_000;
const A = "192.0.2.1:51820", B = "192.0.2.2:51820";

function pick<T>(random: SeededRandom, choices: readonly T[]): T {
  return choices[random.uint32() % choices.length]!;
}

/** A device whose clock is `clock.now`. */
function deviceOf(random: SeededRandom, clock: { now: number }): Device {
  const stamps = new TimestampSource();
  return new Device({
    privateKey: random.bytes(32),
    random: new SeededRandom(random.uint32()),
    timestamp: () => stamps.next(WALL + clock.now),
  });
}

/** Two devices that know each other, the first with an initiation under way. */
function pairOf(random: SeededRandom, clock: { now: number }): { a: Device; b: Device } {
  const [a, b] = [deviceOf(random, clock), deviceOf(random, clock)];
  const [keyA, keyB] = [a.publicKey, b.publicKey];
  a.handle({ type: "add-peer", peer: 0, options: { publicKey: keyB, endpoints: [B] } }, clock.now);
  b.handle({ type: "add-peer", peer: 3, options: { publicKey: keyA, endpoints: [A] } }, clock.now);
  return { a, b };
}

function transmitted(effects: readonly DeviceEffect[]): Uint8Array[] {
  return effects.flatMap((effect) => effect.type === "transmit" ? [effect.bytes] : []);
}

/** What a thief on the wire has to work with, and the message that must not reach `a` yet. */
interface Loot {
  /** Genuine messages that were used up, and a cookie for one of them. */
  readonly spent: readonly Uint8Array[];
  /** The response to the initiation that `a` has under way. */
  readonly withheld: Uint8Array;
}

/** Lets both devices make a session each way, and `a` begin a third. */
function steal(a: Device, b: Device, clock: { now: number }): Loot {
  const spent: Uint8Array[] = [];
  const carry = (device: Device, from: string, bytes: Uint8Array, underLoad = false) => {
    const effects = device.handle({ type: "datagram", from, bytes, underLoad }, clock.now);
    spent.push(bytes, ...transmitted(effects));
    return transmitted(effects)[0]!;
  };
  const [first] = transmitted(a.handle({ type: "session-wanted", peer: 0 }, clock.now));
  const cookie = carry(b, A, first!, true);
  assert.equal(cookie.length, COOKIE.size);
  carry(a, B, carry(b, A, first!));
  clock.now += 6000;
  const [back] = transmitted(b.handle({ type: "counter-limit", peer: 3 }, clock.now));
  carry(b, A, carry(a, B, back!));
  const [third] = transmitted(a.handle({ type: "counter-limit", peer: 0 }, clock.now));
  const event = { type: "datagram", from: A, bytes: third!, underLoad: false } as const;
  const [withheld] = transmitted(b.handle(event, clock.now));
  return { spent, withheld: withheld! };
}

/** Changes a few bits, or the length, or the whole. */
function mutated(random: SeededRandom, { spent, withheld }: Loot): Uint8Array {
  const bytes = pick(random, spent).slice();
  switch (random.uint32() % 7) {
    case 0:
      return random.bytes(random.uint32() % 200);
    case 1:
      return bytes.subarray(0, random.uint32() % bytes.length);
    case 2:
      return concatBytes(bytes, random.bytes(1 + random.uint32() % 40));
    case 3: {
      const whole = random.bytes(pick(random, [INITIATION.size, RESPONSE.size, COOKIE.size]));
      whole.fill(0, 0, 4);
      whole[0] = 1 + random.uint32() % 3;
      return whole;
    }
    case 4: {
      // Only what Noise authenticates: anyone on the way could change the rest, as in any WireGuard.
      const forged = withheld.slice();
      const size = RESPONSE.mac1 - RESPONSE.noise;
      forged[RESPONSE.noise + random.uint32() % size]! ^= 1 << (random.uint32() % 8);
      return forged;
    }
    default:
      for (let n = 1 + random.uint32() % 4; n > 0; n--) {
        bytes[random.uint32() % bytes.length]! ^= 1 << (random.uint32() % 8);
      }
      return bytes;
  }
}

Deno.test("Device survives 100 000 random, truncated and mutated datagrams", () => {
  const seed = 0x57a1;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const clock = { now: 1000 };
  const { a, b } = pairOf(random, clock);
  const loot = steal(a, b, clock);
  const jar = new CookieJar(a.publicKey);
  const before = a.report(0);
  const reasons: Record<string, number> = {};

  for (let run = 0; run < DATAGRAMS; run++) {
    const bytes = mutated(random, loot);
    // Anyone who knows the public key can make mac1, so a share of them gets past it.
    const mac1 = bytes.length === INITIATION.size
      ? INITIATION.mac1
      : bytes.length === RESPONSE.size
      ? RESPONSE.mac1
      : 0;
    if (mac1 > 0 && run % 20 === 0) jar.addMacs(bytes, mac1, clock.now);
    const text = bytes.toHex();
    const underLoad = random.uint32() % 4 === 0;
    const from = pick(random, [A, B, `198.51.100.${run % 250}:${1 + run % 60000}`]);
    const effects = a.handle({ type: "datagram", from, bytes, underLoad }, clock.now);

    const where = `seed ${seed}, run ${run}: ${text}`;
    assert.equal(bytes.toHex(), text, `${where}: bytes are not written to`);
    for (const effect of effects) {
      if (effect.type === "transmit") {
        assert.ok(effect.bytes.length === COOKIE.size && effect.to === from, where);
        assert.ok(effect.bytes.length < bytes.length, "an answer is smaller than the question");
      } else if (effect.type === "drop") {
        reasons[effect.reason] = (reasons[effect.reason] ?? 0) + 1;
      } else assert.fail(`${where}: ${effect.type}`);
    }
    assert.ok(effects.some(({ type }) => type === "drop") || text.startsWith("03"), where);
  }
  assert.deepEqual(a.report(0), before, "nothing changed");
  for (const reason of ["malformed", "bad-mac", "bad-tag", "unknown-peer", "cookie-required"]) {
    assert.ok(reasons[reason]! > 100, `${reason}: ${reasons[reason]}`);
  }
  // The handshake that was under way all the time still completes.
  const event = { type: "datagram", from: B, bytes: loot.withheld, underLoad: false } as const;
  const types = a.handle(event, clock.now).map(({ type }) => type);
  assert.ok(types.includes("install-keypair"), types.join());
});

/** What the data plane of one device would hold; breaks when an effect makes no sense. */
class Slots {
  readonly installed = new Map<number, number>();
  readonly current = new Map<number, number>();

  perform(effect: DeviceEffect, where: string): void {
    if (effect.type === "install-keypair") {
      const { slot, peer, localIndex, role } = effect.keypair;
      assert.ok(!this.installed.has(slot), `${where}: slot ${slot} is in use`);
      assert.equal(Math.floor(slot / 4), peer, where);
      assert.equal(localIndex & (2 ** KEYPAIR_SLOT_BITS - 1), slot, where);
      assert.ok(localIndex >= 0 && localIndex < 2 ** 32 && Number.isInteger(localIndex), where);
      this.installed.set(slot, localIndex);
      if (role === "current") this.current.set(peer, slot);
    } else if (effect.type === "promote-keypair") {
      assert.ok(this.installed.has(effect.slot), `${where}: slot ${effect.slot} is empty`);
      this.current.set(effect.peer, effect.slot);
    } else if (effect.type === "forget-keypair") {
      assert.ok(this.installed.delete(effect.slot), `${where}: slot ${effect.slot} is empty`);
      if (this.current.get(effect.peer) === effect.slot) this.current.delete(effect.peer);
    } else if (effect.type === "send-keepalive") {
      assert.ok(this.current.has(effect.peer), `${where}: a keepalive needs a key`);
    }
  }
}

/** An event such as a data plane or control channel could send, sensible or not. */
function randomEvent(random: SeededRandom, slots: Slots, onWire: Uint8Array[]): DeviceEvent {
  const peer = random.uint32() % 2;
  const endpoint = pick(random, [A, B, "[2001:db8::1]:9", "203.0.113.5:7"]);
  const localIndex = [...slots.installed.values()][random.uint32() % 8] ?? random.uint32();
  const bytes = onWire.length > 0 ? pick(random, onWire) : random.bytes(40);
  return pick<() => DeviceEvent>(random, [
    () => ({ type: "tick" }),
    () => ({ type: "datagram", from: endpoint, bytes, underLoad: random.uint32() % 5 === 0 }),
    () => ({ type: "datagram", from: endpoint, bytes, underLoad: false }),
    () => ({ type: "data-sent", peer }),
    () => ({ type: "data-received", peer }),
    () => ({ type: "keepalive-received", peer }),
    () => ({ type: "keepalive-sent", peer }),
    () => ({ type: "session-wanted", peer }),
    () => ({ type: "keypair-used", localIndex }),
    () => ({ type: "counter-limit", peer }),
    () => ({ type: "peer-restarted", peer }),
    () => ({ type: "unknown-index", from: endpoint }),
    () => ({ type: "roamed", peer, endpoint }),
    () => ({ type: "set-endpoints", peer, endpoints: [endpoint, A, B] }),
  ])();
}

for (const seed of [1, 2]) {
  Deno.test(`Device keeps its slots in order through ${EVENTS} events in any order (${seed})`, () => {
    console.log(`seed ${seed}`);
    const random = new SeededRandom(seed);
    const clock = { now: 0 };
    const devices = [deviceOf(random, clock), deviceOf(random, clock)] as const;
    const slots = [new Slots(), new Slots()] as const;
    const onWire: [Uint8Array[], Uint8Array[]] = [[], []];
    for (const [i, device] of devices.entries()) {
      const options = { publicKey: devices[1 - i]!.publicKey, endpoints: [A] };
      device.handle({ type: "add-peer", peer: 0, options }, 0);
      const stranger = {
        publicKey: random.bytes(32),
        endpoints: [B],
        persistentKeepaliveMs: 25_000,
      };
      device.handle({ type: "add-peer", peer: 1, options: stranger }, 0);
    }
    let sessions = 0;
    for (let run = 0; run < EVENTS; run++) {
      clock.now += pick(random, [0, 0, 1, 7, 30, 200, 3000, 20_000]);
      const i = (random.uint32() % 2) as 0 | 1;
      const event = randomEvent(random, slots[i], onWire[i]);
      const where = `seed ${seed}, run ${run}, ${event.type}`;
      const effects = devices[i].handle(event, clock.now);
      assert.ok(effects.length <= 16, `${where}: ${effects.length} effects`);
      for (const effect of effects) {
        slots[i].perform(effect, where);
        if (effect.type === "transmit") onWire[1 - i]!.push(effect.bytes);
        if (effect.type === "session-up") sessions++;
      }
      onWire[1 - i]!.splice(0, onWire[1 - i]!.length - 6);
      assert.ok(slots[i].installed.size <= 8, where);
      if (event.type === "tick") {
        const { deadline } = devices[i];
        assert.ok(deadline > clock.now, `${where}: a tick leaves nothing due, ${deadline}`);
      }
    }
    assert.ok(sessions > 20, `${sessions} sessions`);
    for (const [i, device] of devices.entries()) {
      for (const peer of [0, 1]) {
        for (const effect of device.handle({ type: "remove-peer", peer }, clock.now)) {
          slots[i]!.perform(effect, "removal");
        }
      }
      assert.equal(slots[i]!.installed.size, 0, "removal forgets every key");
      assert.equal(device.deadline, Infinity);
    }
  });
}
