/**
 * Does the handshake agree with other implementations, byte for byte? Every vector of cacophony and
 * snow in `noise_vectors.json`, both sides, handshake and transport messages.
 * @module
 */
import assert from "node:assert/strict";
import { fromHex, toHex } from "../../core/bytes.ts";
import { CipherState } from "../../core/noise/cipher_state.ts";
import { HandshakeState } from "../../core/noise/handshake_state.ts";
import { keyPairOf } from "../../core/noise/x25519.ts";
import type { Random } from "../../core/random.ts";
import file from "./noise_vectors.json" with { type: "json" };

interface Vector {
  readonly protocol_name: string;
  readonly _source: string;
  readonly init_prologue: string;
  readonly init_ephemeral: string;
  readonly init_static?: string;
  readonly init_remote_static?: string;
  readonly init_psks?: readonly string[];
  readonly resp_prologue: string;
  readonly resp_ephemeral: string;
  readonly resp_static?: string;
  readonly resp_remote_static?: string;
  readonly resp_psks?: readonly string[];
  readonly handshake_hash?: string;
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[];
}

const VECTORS: readonly Vector[] = file.vectors;

for (const vector of VECTORS) {
  const name = vector.protocol_name.replace("_25519_ChaChaPoly_BLAKE2s", "");
  Deno.test(`HandshakeState agrees with ${vector._source} on ${name}`, () => {
    const ends = [endOf(vector, true), endOf(vector, false)] as const;
    let ciphers: Ciphers[] | null = null;
    vector.messages.forEach((message, i) => {
      const [writer, reader] = i % 2 === 0 ? ends : [ends[1], ends[0]];
      const payload = fromHex(message.payload);
      if (!writer.isFinished) {
        const written = writer.writeMessage(payload);
        assert.equal(written && toHex(written), message.ciphertext);
        const read = reader.readMessage(fromHex(message.ciphertext));
        assert.equal(read && toHex(read), message.payload);
        return;
      }
      ciphers ??= ends.map(ciphersOf);
      const [from, to] = i % 2 === 0 ? [ciphers[0]!, ciphers[1]!] : [ciphers[1]!, ciphers[0]!];
      const sealed = from.send.encryptWithAd(NOTHING, payload);
      assert.equal(toHex(sealed), message.ciphertext);
      const opened = to.receive.decryptWithAd(NOTHING, sealed);
      assert.equal(opened && toHex(opened), message.payload);
    });
    assert.ok(ends[0].isFinished && ends[1].isFinished && ciphers !== null);
    assert.equal(toHex(ends[0].handshakeHash), toHex(ends[1].handshakeHash));
    if (vector.handshake_hash) {
      assert.equal(toHex(ends[0].handshakeHash), vector.handshake_hash);
    }
  });

  Deno.test(`HandshakeState refuses every altered or cut handshake message of ${name}`, () => {
    const ends = [endOf(vector, true), endOf(vector, false)] as const;
    for (let i = 0; !ends[0].isFinished; i++) {
      const [writer, reader] = i % 2 === 0 ? ends : [ends[1], ends[0]];
      const message = writer.writeMessage(fromHex(vector.messages[i]!.payload))!;
      assert.equal(reader.clone().readMessage(message.subarray(0, 31)), null);
      // What no tag covers yet, another message does later.
      const isSealed = message.length > 32 + vector.messages[i]!.payload.length / 2;
      for (const at of isSealed ? [0, 31, 32, message.length - 1] : []) {
        const altered = message.slice();
        altered[at]! ^= 1;
        assert.equal(reader.clone().readMessage(altered), null, `message ${i}, byte ${at}`);
      }
      assert.notEqual(reader.readMessage(message), null, "clones took the damage");
    }
  });
}

Deno.test("HandshakeState refuses a peer's all-zero and low-order keys", () => {
  const vector = VECTORS[0]!;
  for (const first of [0, 1]) {
    const key = new Uint8Array(32);
    key[0] = first;
    const responder = endOf(vector, false);
    assert.notEqual(responder.readMessage(key), null, "NN computes nothing with the first key");
    assert.equal(responder.writeMessage(NOTHING), null);
  }
});

Deno.test("HandshakeState uses the X25519 it is given, and refuses its all-zero result", () => {
  let calls = 0;
  const zero = () => (calls++, new Uint8Array(32));
  const end = new HandshakeState({
    protocolName: VECTORS[0]!.protocol_name,
    isInitiator: false,
    prologue: NOTHING,
    random: fixed(fromHex("01".repeat(32))),
    x25519: zero,
  });
  end.readMessage(new Uint8Array(32).fill(9));
  assert.equal(end.writeMessage(NOTHING), null);
  assert.equal(calls, 2, "one for the ephemeral key, one for ee");
});

const NOTHING = new Uint8Array(0);

interface Ciphers {
  readonly send: CipherState;
  readonly receive: CipherState;
}

function ciphersOf(end: HandshakeState): Ciphers {
  const { sendKey, receiveKey } = end.split();
  const [send, receive] = [new CipherState(), new CipherState()];
  send.initializeKey(sendKey);
  receive.initializeKey(receiveKey);
  return { send, receive };
}

function endOf(vector: Vector, isInitiator: boolean): HandshakeState {
  const [ephemeral, own, remote] = isInitiator
    ? [vector.init_ephemeral, vector.init_static, vector.init_remote_static]
    : [vector.resp_ephemeral, vector.resp_static, vector.resp_remote_static];
  const psks = isInitiator ? vector.init_psks : vector.resp_psks;
  return new HandshakeState({
    protocolName: vector.protocol_name,
    isInitiator,
    prologue: fromHex(isInitiator ? vector.init_prologue : vector.resp_prologue),
    random: fixed(fromHex(ephemeral)),
    presharedKeys: (psks ?? []).map(fromHex),
    ...(own ? { static: keyPairOf(fromHex(own)) } : {}),
    ...(remote ? { remoteStatic: fromHex(remote) } : {}),
  });
}

/** Entropy that is always the same key. */
function fixed(key: Uint8Array): Random {
  return { bytes: () => key.slice(), uint32: () => 0 };
}
