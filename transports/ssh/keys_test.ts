import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "../../core/bytes.ts";
import { identityFromSeed } from "../../core/identity/keys.ts";
import { isKeyOf, memberWith, parsePublicKeyBlob, privateKeyPem, publicKeyBlob } from "./keys.ts";
import { loadSsh2 } from "./ssh2.ts";

const [ALICE, BOB] = [1, 2].map((byte) => identityFromSeed(new Uint8Array(32).fill(byte)));
const ALONE = {
  publicKeyOf: (peer: string) => peer === ALICE!.peerId ? ALICE!.publicKey : null,
  // A careless look-up, that takes every key for Alice's.
  peerOf: () => ALICE!.peerId,
};

Deno.test("privateKeyPem() is what ssh2 reads, and its public half what publicKeyBlob() says", async () => {
  const { utils } = await loadSsh2() as unknown as {
    utils: { parseKey(text: string): { type: string; getPublicSSH(): Uint8Array } };
  };
  const key = utils.parseKey(privateKeyPem(ALICE!));
  assert.equal(key.type, "ssh-ed25519");
  assert.deepEqual(new Uint8Array(key.getPublicSSH()), publicKeyBlob(ALICE!.publicKey));
});

Deno.test("parsePublicKeyBlob() takes exactly what publicKeyBlob() makes", () => {
  const blob = publicKeyBlob(ALICE!.publicKey);
  assert.deepEqual(parsePublicKeyBlob(blob), ALICE!.publicKey);
  assert.equal(parsePublicKeyBlob(concatBytes(blob, Uint8Array.of(0))), null);
  assert.equal(parsePublicKeyBlob(blob.subarray(1)), null);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
    assert.equal(parsePublicKeyBlob(bytes), null);
  }));
});

Deno.test("memberWith() trusts no look-up that names another key's member", () => {
  assert.equal(memberWith(publicKeyBlob(ALICE!.publicKey), ALONE), ALICE!.peerId);
  assert.equal(memberWith(publicKeyBlob(BOB!.publicKey), ALONE), null);
  assert.equal(memberWith(new Uint8Array(), ALONE), null);
});

Deno.test("isKeyOf() is false for whoever is no member", () => {
  assert.equal(isKeyOf(ALICE!.peerId, ALICE!.publicKey, ALONE), true);
  assert.equal(isKeyOf(ALICE!.peerId, BOB!.publicKey, ALONE), false);
  assert.equal(isKeyOf(BOB!.peerId, BOB!.publicKey, ALONE), false);
});
