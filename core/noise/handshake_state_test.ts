/**
 * Tests of a handshake run beyond the published vectors: what it refuses, and what it must not leave.
 * @module
 */
import assert from "node:assert/strict";
import { AssertionError } from "../assert.ts";
import { toHex, utf8 } from "../bytes.ts";
import { type Random, SeededRandom } from "../random.ts";
import { HandshakeState } from "./handshake_state.ts";
import { patternOf } from "./patterns.ts";
import { keyPairOf, nobleX25519 } from "./x25519.ts";

const NOTHING = new Uint8Array(0);
const IK = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";

interface Ends {
  readonly initiator: HandshakeState;
  readonly responder: HandshakeState;
  /** Ephemeral private keys that were drawn, as the runs hold them. */
  readonly ephemerals: Uint8Array[];
}

/** Both runs of one protocol; what differs at the responder is an option. */
function endsOf(
  protocolName: string,
  other: { prologue?: string; psk?: number; static?: number } = {},
): Ends {
  const random = new SeededRandom(1);
  const [a, b] = [keyPairOf(random.bytes(32)), keyPairOf(random.bytes(32))];
  const ephemerals: Uint8Array[] = [];
  const recording: Random = {
    bytes(length) {
      const bytes = random.bytes(length);
      ephemerals.push(bytes);
      return bytes;
    },
    uint32: () => random.uint32(),
  };
  const [psk, otherPsk] = [new Uint8Array(32).fill(7), new Uint8Array(32).fill(other.psk ?? 7)];
  const initiator = new HandshakeState({
    protocolName,
    isInitiator: true,
    prologue: utf8("p"),
    random: recording,
    static: a,
    remoteStatic: b.publicKey,
    presharedKeys: [psk],
  });
  const responder = new HandshakeState({
    protocolName,
    isInitiator: false,
    prologue: utf8(other.prologue ?? "p"),
    random: recording,
    static: other.static === undefined ? b : keyPairOf(new Uint8Array(32).fill(other.static)),
    presharedKeys: [otherPsk],
  });
  return { initiator, responder, ephemerals };
}

Deno.test("readMessage() refuses another prologue, static key and pre-shared key", () => {
  for (const other of [{ prologue: "q" }, { static: 9 }]) {
    const { initiator, responder } = endsOf(IK, other);
    assert.equal(responder.readMessage(initiator.writeMessage(NOTHING)!), null);
  }
  const { initiator, responder } = endsOf(IK, { psk: 8 });
  assert.notEqual(responder.readMessage(initiator.writeMessage(NOTHING)!), null);
  assert.equal(initiator.readMessage(responder.writeMessage(NOTHING)!), null);
});

Deno.test("readMessage() refuses every truncation and every change of one bit", () => {
  const { initiator, responder } = endsOf(IK);
  for (const [from, to] of [[initiator, responder], [responder, initiator]] as const) {
    const message = from.writeMessage(utf8("hi"))!;
    for (let length = 0; length < message.length; length++) {
      assert.equal(to.clone().readMessage(message.subarray(0, length)), null, `${length} bytes`);
    }
    for (let bit = 0; bit < 8 * message.length; bit += 7) {
      const forged = message.slice();
      forged[bit >> 3]! ^= 1 << (bit & 7);
      // RFC 7748 section 5 masks the last bit of a key; the hash does not.
      assert.equal(to.clone().readMessage(forged), null, `bit ${bit}`);
    }
    assert.equal(to.clone().readMessage(new Uint8Array(65_536)), null);
    assert.equal(toHex(to.readMessage(message)!), toHex(utf8("hi")));
  }
});

Deno.test("readMessage() and writeMessage() refuse a degenerate ephemeral key", () => {
  const { responder } = endsOf(IK);
  assert.equal(responder.readMessage(new Uint8Array(96)), null);

  const plain = endsOf("Noise_NN_25519_ChaChaPoly_BLAKE2s");
  assert.notEqual(plain.responder.readMessage(new Uint8Array(32)), null, "e alone is not yet used");
  assert.equal(plain.responder.writeMessage(NOTHING), null);
});

Deno.test("clone() goes its own way", () => {
  const { initiator, responder } = endsOf(IK);
  const first = initiator.writeMessage(NOTHING)!;
  const before = toHex(initiator.handshakeHash);
  responder.readMessage(first);
  const second = responder.writeMessage(NOTHING)!;
  const copy = initiator.clone();
  assert.equal(copy.readMessage(new Uint8Array(48).fill(9)), null);
  assert.equal(toHex(initiator.handshakeHash), before);
  assert.equal(initiator.isFinished, false);
  const other = initiator.clone();
  assert.notEqual(other.readMessage(second), null);
  assert.notEqual(initiator.readMessage(second), null);
  assert.deepEqual(other.split(), initiator.split());
});

Deno.test("split() gives both ends the same pair of keys, different ones each way", () => {
  for (const name of ["NN", "XX", "IK", "NNpsk0", "IKpsk2"]) {
    const { initiator, responder } = endsOf(`Noise_${name}_25519_ChaChaPoly_BLAKE2s`);
    for (let turn = 0; !initiator.isFinished; turn++) {
      const [from, to] = turn % 2 === 0 ? [initiator, responder] : [responder, initiator];
      assert.notEqual(to.readMessage(from.writeMessage(NOTHING)!), null, name);
    }
    const [mine, theirs] = [initiator.split(), responder.split()];
    assert.equal(toHex(mine.sendKey), toHex(theirs.receiveKey), name);
    assert.equal(toHex(mine.receiveKey), toHex(theirs.sendKey), name);
    assert.notEqual(toHex(mine.sendKey), toHex(mine.receiveKey), name);
    assert.equal(mine.sendKey.length, 32);
  }
});

Deno.test("readLabelledMessage() finds the label that was bound, and keys depend on it", () => {
  const labels = [NOTHING, utf8("x"), utf8("y"), utf8("xy")];
  const keys = new Set<string>();
  for (const [choice, label] of labels.entries()) {
    const { initiator, responder } = endsOf(IK);
    responder.readMessage(initiator.writeMessage(NOTHING)!);
    const message = responder.writeMessage(utf8("hi"), label)!;
    for (const order of [labels, labels.toReversed()]) {
      const run = initiator.clone();
      const read = run.readLabelledMessage(message, order)!;
      assert.equal(toHex(read.payload), toHex(utf8("hi")));
      assert.equal(order[read.choice], label);
      assert.equal(toHex(run.handshakeHash), toHex(responder.handshakeHash));
      assert.equal(toHex(run.split().sendKey), toHex(responder.split().receiveKey));
      assert.equal(toHex(run.clone().split().sendKey), toHex(responder.clone().split().receiveKey));
    }
    keys.add(toHex(responder.split().sendKey)).add(toHex(responder.split().receiveKey));
    const others = labels.filter((_, i) => i !== choice);
    assert.equal(initiator.clone().readLabelledMessage(message, others), null);
    assert.equal(initiator.clone().readMessage(message) !== null, choice === 0);
  }
  assert.equal(keys.size, 2 * labels.length);
});

Deno.test("only the last message binds a label", () => {
  const { initiator, responder } = endsOf(IK);
  assert.throws(() => initiator.clone().writeMessage(NOTHING, utf8("x")), AssertionError);
  const first = initiator.writeMessage(NOTHING)!;
  assert.throws(() => responder.readLabelledMessage(first, [utf8("x")]), AssertionError);
});

Deno.test("a run asserts that its sides take turns and that it is split at its end", () => {
  const { initiator, responder } = endsOf(IK);
  assert.throws(() => responder.writeMessage(NOTHING), AssertionError);
  assert.throws(() => initiator.readMessage(new Uint8Array(96)), AssertionError);
  const first = initiator.writeMessage(NOTHING)!;
  assert.throws(() => initiator.writeMessage(NOTHING), AssertionError);
  assert.throws(() => initiator.split(), AssertionError);
  responder.readMessage(first);
  initiator.readMessage(responder.writeMessage(NOTHING)!);
  assert.throws(() => initiator.writeMessage(NOTHING), AssertionError, "no message is left");
});

Deno.test("wipe() overwrites the ephemeral private key", () => {
  const { initiator, ephemerals } = endsOf(IK);
  initiator.writeMessage(NOTHING);
  assert.ok(ephemerals[0]!.some((byte) => byte !== 0));
  initiator.wipe();
  assert.ok(ephemerals[0]!.every((byte) => byte === 0));
});

Deno.test("a run uses the X25519 that it is given, and trusts none that returns zeros", () => {
  const random = new SeededRandom(3);
  const pair = keyPairOf(random.bytes(32));
  let calls = 0;
  const options = {
    protocolName: IK,
    isInitiator: true,
    prologue: NOTHING,
    random,
    static: pair,
    remoteStatic: keyPairOf(random.bytes(32)).publicKey,
  };
  const counting = new HandshakeState({
    ...options,
    x25519: (scalar, u) => (calls++, nobleX25519(scalar, u)),
  });
  assert.notEqual(counting.writeMessage(NOTHING), null);
  assert.equal(calls, 3, "the ephemeral key, es and ss");
  const broken = new HandshakeState({ ...options, x25519: () => new Uint8Array(32) });
  assert.equal(broken.writeMessage(NOTHING), null);
});

Deno.test("patternOf() puts each psk where its number says", () => {
  const tokens = (name: string) => patternOf(`Noise_${name}_25519_ChaChaPoly_BLAKE2s`).messages;
  assert.deepEqual(tokens("NNpsk0"), [["psk", "e"], ["e", "ee"]]);
  assert.deepEqual(tokens("NNpsk1"), [["e", "psk"], ["e", "ee"]]);
  assert.deepEqual(tokens("NNpsk0+psk2"), [["psk", "e"], ["e", "ee", "psk"]]);
  assert.deepEqual(tokens("IKpsk2"), [["e", "es", "s", "ss"], ["e", "ee", "se", "psk"]]);
  assert.deepEqual(tokens("XXpsk3").at(-1), ["s", "se", "psk"]);
});

Deno.test("patternOf() refuses what it does not know", () => {
  for (
    const name of [
      "",
      "Noise_KK_25519_ChaChaPoly_BLAKE2s",
      "Noise_IK_448_ChaChaPoly_BLAKE2s",
      "Noise_IK_25519_AESGCM_BLAKE2s",
      "Noise_IK_25519_ChaChaPoly_SHA256",
      "Noise_IKpsk3_25519_ChaChaPoly_BLAKE2s",
      "Noise_IKfallback_25519_ChaChaPoly_BLAKE2s",
      "Noise_IK_25519_ChaChaPoly_BLAKE2s\n",
    ]
  ) assert.throws(() => patternOf(name), RangeError, name);
});
