/**
 * Do two ends agree on keys and features, is a handshake without features WireGuard's to the bit,
 * and can anyone between them change the outcome?
 * @module
 */
import assert from "node:assert/strict";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2s } from "@noble/hashes/blake2.js";
import { hmac } from "@noble/hashes/hmac.js";
import { concatBytes, toHex, utf8 } from "../bytes.ts";
import { type KeyPair, keyPairOf, nobleX25519 } from "../noise/x25519.ts";
import { SeededRandom } from "../random.ts";
import { CONSTRUCTION, IDENTIFIER } from "./constants.ts";
import {
  consumeInitiation,
  consumeResponse,
  createInitiation,
  createResponse,
  type HandshakeContext,
} from "./handshake.ts";
import { INITIATION, newMessage, readIndex, RESPONSE, writeIndex } from "./messages.ts";
import { labelOf, offerIn } from "./negotiation.ts";
import { encodeTai64n } from "./tai64n.ts";

const PSK = new Uint8Array(32).fill(7);
const STAMP = encodeTai64n(1_795_000_000_123);

/** An end that draws the same keys every time for the same `seed`. */
function end(seed: number, features: number): HandshakeContext {
  const random = new SeededRandom(seed);
  return { own: keyPairOf(random.bytes(32)), random, x25519: nobleX25519, features };
}

/** Begins a handshake with `responder`. */
function begin(initiator: HandshakeContext, responder: HandshakeContext, timestamp = STAMP) {
  const remoteStatic = responder.own.publicKey;
  return createInitiation(initiator, { remoteStatic, presharedKey: PSK, sender: 1, timestamp })!;
}

function answer(responder: HandshakeContext, initiation: Uint8Array) {
  return createResponse(consumeInitiation(responder, initiation)!, PSK, 2)!;
}

/** Puts another tag on a response. */
function retagged(response: Uint8Array, tag: Uint8Array): Uint8Array {
  const bytes = response.slice();
  bytes.set(tag, RESPONSE.mac1 - tag.length);
  return bytes;
}

Deno.test("both ends agree on keys and on the features that both have", () => {
  for (const offered of [0, 1, 2, 5, 15]) {
    for (const own of [0, 1, 6, 15]) {
      const [a, b] = [end(1, offered), end(2, own)];
      const initiation = begin(a, b);
      const response = answer(b, initiation.bytes);
      const { keys } = consumeResponse(a, response.bytes, initiation.state)!;
      const name = `${offered} offered to ${own}`;
      assert.equal(keys.features, offered & own, name);
      assert.equal(response.keys.features, offered & own, name);
      assert.equal(toHex(keys.sendKey), toHex(response.keys.receiveKey), name);
      assert.equal(toHex(keys.receiveKey), toHex(response.keys.sendKey), name);
      assert.equal(initiation.bytes.length, INITIATION.size);
      assert.equal(response.bytes.length, RESPONSE.size);
    }
  }
});

Deno.test("a handshake without features is bit for bit what it was before there were any", () => {
  const random = new SeededRandom(1);
  const plain = () => (
    { own: keyPairOf(random.bytes(32)), random, x25519: nobleX25519, features: 0 }
  );
  const [a, b] = [plain(), plain()];
  const initiation = createInitiation(a, {
    remoteStatic: b.own.publicKey,
    presharedKey: PSK,
    sender: 0x1234,
    timestamp: STAMP,
  })!;
  const response = createResponse(consumeInitiation(b, initiation.bytes)!, PSK, 0x5678)!;
  const { sendKey, receiveKey } = response.keys;
  const all = concatBytes(initiation.bytes, response.bytes, sendKey, receiveKey);
  assert.equal(
    toHex(blake2s(all)),
    "43c2086fa027e2c73695211ef61eb1bb18a92a3a9cfef3ccc956a1ea32eee9fb",
  );
});

Deno.test("a responder of the paper's that knows no features gets plain WireGuard", () => {
  for (const offered of [0, 7]) {
    const [a, stock] = [end(1, offered), end(2, 0)];
    const initiation = begin(a, stock);
    const paper = answerByPaper(initiation.bytes, stock.own, labelOf(0));
    const { keys } = consumeResponse(a, paper.bytes, initiation.state)!;
    assert.equal(keys.features, 0);
    assert.equal(toHex(keys.sendKey), toHex(paper.receiveKey));
    assert.equal(toHex(keys.receiveKey), toHex(paper.sendKey));
    assert.equal(offerIn(paper.timestamp), offered);
    assert.equal(toHex(paper.timestamp.subarray(0, 8)), toHex(STAMP.subarray(0, 8)));
  }
});

Deno.test("a label is mixed where the protocol's document says", () => {
  for (const features of [1, 6, 15]) {
    const [a, b] = [end(1, 15), end(2, features)];
    const initiation = begin(a, b);
    const paper = answerByPaper(initiation.bytes, b.own, labelOf(features));
    const { keys } = consumeResponse(a, paper.bytes, initiation.state)!;
    assert.equal(keys.features, features);
    assert.equal(toHex(keys.sendKey), toHex(paper.receiveKey));
    assert.equal(toHex(keys.receiveKey), toHex(paper.sendKey));
  }
});

Deno.test("a stock initiator gets plain WireGuard from a responder with features", () => {
  const plain = begin(end(1, 0), end(2, 0));
  const able = answer(end(2, 15), plain.bytes);
  const unable = answer(end(2, 0), plain.bytes);
  assert.equal(able.keys.features, 0);
  assert.equal(toHex(able.bytes), toHex(unable.bytes));
  assert.deepEqual(able.keys, unable.keys);
});

Deno.test("a stock initiator whose nanoseconds look like an offer succeeds when it tries again", () => {
  const [stock, b] = [end(1, 0), end(2, 15)];
  const atNanos = (nanos: number) => {
    const timestamp = STAMP.slice();
    new DataView(timestamp.buffer).setUint32(8, nanos);
    return timestamp;
  };
  const failed = begin(stock, b, atNanos(0x21746d35));
  const response = answer(b, failed.bytes);
  assert.equal(response.keys.features, 5);
  assert.equal(consumeResponse(stock, response.bytes, failed.state), null);

  const retry = begin(stock, b, atNanos(0x21746d35 + 5_123));
  const { bytes, keys } = answer(b, retry.bytes);
  const done = consumeResponse(stock, bytes, retry.state)!;
  assert.equal(toHex(done.keys.sendKey), toHex(keys.receiveKey));
});

Deno.test("the offer is sealed: each change of its bytes spoils the initiation", () => {
  const [a, b] = [end(1, 15), end(2, 15)];
  const { bytes } = begin(a, b);
  for (let at = INITIATION.mac1 - 28; at < INITIATION.mac1; at++) {
    const forged = bytes.slice();
    forged[at]! ^= 1;
    assert.equal(consumeInitiation(b, forged), null, `byte ${at}`);
  }
});

Deno.test("the tag alone says what was selected, and no two selections share a key", () => {
  const initiation = begin(end(1, 15), end(2, 15));
  const seen = new Set<string>();
  const heads = new Set<string>();
  for (let own = 0; own < 16; own++) {
    // The same ephemeral key each time, so that all but the selection is equal.
    const { bytes, keys } = answer(end(2, own), initiation.bytes);
    assert.equal(keys.features, own);
    heads.add(toHex(bytes.subarray(0, RESPONSE.mac1 - 16)));
    for (const secret of [bytes.subarray(RESPONSE.mac1 - 16), keys.sendKey, keys.receiveKey]) {
      seen.add(toHex(secret));
    }
  }
  assert.equal(heads.size, 1);
  assert.equal(seen.size, 3 * 16);
});

Deno.test("a response whose tag someone else made is refused, whatever it selects", () => {
  const [a, b] = [end(1, 15), end(2, 15)];
  const initiation = begin(a, b);
  const { bytes } = answer(b, initiation.bytes);
  const other = answer(end(2, 3), begin(end(3, 15), b).bytes).bytes;
  const tags = [new Uint8Array(16), other.subarray(RESPONSE.mac1 - 16, RESPONSE.mac1)];
  // An attacker knows the label and what was sent, not the key.
  const guess = chacha20poly1305(new Uint8Array(32), new Uint8Array(12), labelOf(1));
  tags.push(guess.encrypt(new Uint8Array(0)));
  for (let bit = 0; bit < 128; bit++) {
    const tag = bytes.slice(RESPONSE.mac1 - 16, RESPONSE.mac1);
    tag[bit >> 3]! ^= 1 << (bit & 7);
    if (bit % 16 === 0) tags.push(tag);
  }
  for (const tag of tags) {
    assert.equal(consumeResponse(a, retagged(bytes, tag), initiation.state), null);
  }
  const { keys } = consumeResponse(a, bytes, initiation.state)!;
  assert.equal(keys.features, 15, "forgeries did not spoil the handshake");
});

Deno.test("a selection of what was not offered is refused", () => {
  const [a, b] = [end(1, 5), end(2, 0)];
  const initiation = begin(a, b);
  for (const features of [2, 3, 7, 15]) {
    const { bytes } = answerByPaper(initiation.bytes, b.own, labelOf(features));
    assert.equal(consumeResponse(a, bytes, initiation.state), null, `${features}`);
  }
});

Deno.test("consumeResponse() agrees on secrets once, however many selections it tries", () => {
  let calls = 0;
  const counting = {
    ...end(1, 15),
    x25519: (scalar: Uint8Array, u: Uint8Array) => (calls++, nobleX25519(scalar, u)),
  };
  const b = end(2, 1);
  const initiation = begin(counting, b);
  const { bytes } = answer(b, initiation.bytes);
  for (const response of [bytes, retagged(bytes, new Uint8Array(16))]) {
    calls = 0;
    consumeResponse(counting, response, initiation.state);
    assert.equal(calls, 2, "ee and se");
  }
});

/** HKDF of the paper, section 5.4. */
function kdf(key: Uint8Array, input: Uint8Array, count: number): Uint8Array[] {
  const secret = hmac(blake2s, key, input);
  const outputs: Uint8Array[] = [];
  for (let i = 1; i <= count; i++) {
    outputs.push(hmac(blake2s, secret, concatBytes(outputs.at(-1) ?? utf8(""), Uint8Array.of(i))));
  }
  return outputs;
}

/**
 * The responder of the paper, section 5.4.3, from primitives: a second implementation. With an
 * empty label it is stock WireGuard.
 */
function answerByPaper(initiation: Uint8Array, own: KeyPair, label: Uint8Array) {
  const [dh, zeroNonce] = [nobleX25519, new Uint8Array(12)];
  const hash = (...parts: Uint8Array[]): Uint8Array => blake2s(concatBytes(...parts));
  const [theirs, sealedStatic, sealedStamp] = [
    initiation.slice(8, 40),
    initiation.slice(40, 88),
    initiation.slice(88, 116),
  ];
  let c = hash(utf8(CONSTRUCTION));
  let h = hash(hash(c, utf8(IDENTIFIER)), own.publicKey);
  let k: Uint8Array;
  c = kdf(c, theirs, 1)[0]!;
  h = hash(h, theirs);
  [c, k] = kdf(c, dh(own.privateKey, theirs), 2) as [Uint8Array, Uint8Array];
  const remoteStatic = chacha20poly1305(k, zeroNonce, h).decrypt(sealedStatic);
  h = hash(h, sealedStatic);
  [c, k] = kdf(c, dh(own.privateKey, remoteStatic), 2) as [Uint8Array, Uint8Array];
  const timestamp = chacha20poly1305(k, zeroNonce, h).decrypt(sealedStamp);
  h = hash(h, sealedStamp);

  const ephemeral = keyPairOf(new Uint8Array(32).fill(9));
  c = kdf(c, ephemeral.publicKey, 1)[0]!;
  h = hash(h, ephemeral.publicKey);
  c = kdf(c, dh(ephemeral.privateKey, theirs), 1)[0]!;
  c = kdf(c, dh(ephemeral.privateKey, remoteStatic), 1)[0]!;
  const [chainingKey, mixed, key] = kdf(c, PSK, 3);
  h = hash(h, mixed!);
  if (label.length > 0) h = hash(h, label);
  const bytes = newMessage(RESPONSE);
  writeIndex(bytes, RESPONSE.sender, 2);
  writeIndex(bytes, RESPONSE.receiver, readIndex(initiation, INITIATION.sender));
  bytes.set(ephemeral.publicKey, RESPONSE.noise);
  bytes.set(chacha20poly1305(key!, zeroNonce, h).encrypt(utf8("")), RESPONSE.noise + 32);
  const [receiveKey, sendKey] = kdf(chainingKey!, label, 2);
  return { bytes, timestamp, receiveKey: receiveKey!, sendKey: sendKey! };
}
