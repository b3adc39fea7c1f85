/**
 * Do the primitives that sessions and identities rest on survive Project Wycheproof's known
 * attacks? One runner over its files; each primitive says in a few lines how a case is tried.
 * @module
 */
import assert from "node:assert/strict";
import { chacha20poly1305, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { concatBytes, fromHex, toHex } from "../../core/bytes.ts";
import { agree } from "../../core/noise/x25519.ts";
import chacha from "./wycheproof_chacha20_poly1305_test.json" with { type: "json" };
import ed from "./wycheproof_ed25519_test.json" with { type: "json" };
import x25519 from "./wycheproof_x25519_test.json" with { type: "json" };
import xchacha from "./wycheproof_xchacha20_poly1305_test.json" with { type: "json" };

/** What every file has. */
interface Suite<Group extends { readonly tests: readonly Case[] }> {
  readonly numberOfTests: number;
  readonly testGroups: readonly Group[];
}

interface Case {
  readonly tcId: number;
  readonly comment: string;
  readonly flags: readonly string[];
  readonly result: string;
}

type CaseOf<Group extends { readonly tests: readonly Case[] }> = Group["tests"][number];

/**
 * Tries every case of a file. `accepts` says whether the primitive takes the case, and may assert
 * about what it computes; `mustRefuse` decides for cases that Wycheproof leaves open.
 */
function testSuite<Group extends { readonly tests: readonly Case[] }>(
  name: string,
  suite: Suite<Group>,
  accepts: (test: CaseOf<Group>, group: Group) => boolean,
  mustRefuse: (test: Case) => boolean = () => false,
): void {
  Deno.test(`${name} passes all ${suite.numberOfTests} Wycheproof cases`, () => {
    let count = 0;
    for (const group of suite.testGroups) {
      for (const test of group.tests) {
        const isExpected = test.result === "valid" ||
          test.result === "acceptable" && !mustRefuse(test);
        assert.equal(accepts(test, group), isExpected, `case ${test.tcId}: ${test.comment}`);
        count++;
      }
    }
    assert.equal(count, suite.numberOfTests);
  });
}

interface AeadCase extends Case {
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
}

type Aead = typeof chacha20poly1305;

function acceptsAead(aead: Aead): (test: AeadCase) => boolean {
  return (test) => {
    const [key, iv, aad] = [fromHex(test.key), fromHex(test.iv), fromHex(test.aad)];
    const sealed = concatBytes(fromHex(test.ct), fromHex(test.tag));
    const opened = attempt(() => aead(key, iv, aad).decrypt(sealed));
    if (opened === null) return false;
    assert.equal(toHex(opened), test.msg, `case ${test.tcId} opens`);
    assert.equal(toHex(aead(key, iv, aad).encrypt(opened)), toHex(sealed), `case ${test.tcId}`);
    return true;
  };
}

testSuite("chacha20poly1305", chacha, acceptsAead(chacha20poly1305));
testSuite("xchacha20poly1305", xchacha, acceptsAead(xchacha20poly1305));

// "Acceptable" are points on the twist, which are fine, and those whose secret is all zero, which
// RFC 7748 section 6.1 lets a protocol refuse and the handshake must.
testSuite("agree()", x25519, (test) => {
  const secret = agree(fromHex(test.private), fromHex(test.public));
  if (secret === null) return false;
  assert.equal(toHex(secret), test.shared, `case ${test.tcId}`);
  return true;
}, (test) => test.flags.includes("ZeroSharedSecret"));

// As core/identity verifies: strictly after RFC 8032, not the laxer ZIP 215.
testSuite("ed25519", ed, (test, group) => {
  const key = fromHex(group.publicKey.pk);
  return attempt(() =>
    ed25519.verify(fromHex(test.sig), fromHex(test.msg), key, { zip215: false })
  ) ?? false;
});

function attempt<T>(action: () => T): T | null {
  try {
    return action();
  } catch {
    return null;
  }
}
