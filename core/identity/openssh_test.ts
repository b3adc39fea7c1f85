/**
 * Tests of OpenSSH key files against files that ssh-keygen 9.2 made.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { toBase64 } from "../bytes.ts";
import { identityFromSeed } from "./keys.ts";
import {
  fingerprint,
  formatPrivateKey,
  formatPublicKey,
  parsePrivateKey,
  parsePublicKey,
} from "./openssh.ts";

const PLAIN = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACCWFmcpYIr/cEHksumbh6uSxO6JCGQjplrDJ/CE/ZEWhgAAAIjfHvfc3x73
3AAAAAtzc2gtZWQyNTUxOQAAACCWFmcpYIr/cEHksumbh6uSxO6JCGQjplrDJ/CE/ZEWhg
AAAEALD2/UhA61+RtHwRW+NrqMnnWEmho+o8XOUA/V0KhQOJYWZylgiv9wQeSy6ZuHq5LE
7okIZCOmWsMn8IT9kRaGAAAABG1lQHgB
-----END OPENSSH PRIVATE KEY-----
`;
const PLAIN_PUBLIC =
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJYWZylgiv9wQeSy6ZuHq5LE7okIZCOmWsMn8IT9kRaG me@x";
const PLAIN_FINGERPRINT = "SHA256:y9oXoQvbfibIhWeIw/7BcOVC51FbeL/yHphSGSv/Ke8";
const PLAIN_CHECK = 3743348700;

/** Passphrase "secret". */
const ENCRYPTED = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDqTRfWtU
bHWFN/2ZyqB+BcAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIKT9qOqemluqd5EH
7BPNWg9lcNMwRUguKCVMPJwtzQQBAAAAkKeNz3qblU0w6ovGjgojNJfn8KCD6MzwH7xbK+
yn8c6JZqjuOWQeQh4avZeSPae4k75UCnCQswV3QMktYyds7e6EhMPl0ZEryuXeJVF5EgCQ
2LOtyGev6L3fwd5ZQ8gmZRV75MPnhSl+u/W0ztlrt1CUMJtvnUjpXrJLSofUGT3TlEAYR3
tc3eR3VMCnluT3yQ==
-----END OPENSSH PRIVATE KEY-----
`;
const ENCRYPTED_PUBLIC =
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKT9qOqemluqd5EH7BPNWg9lcNMwRUguKCVMPJwtzQQB enc";

const ECDSA = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQTDhyymXvtbnFrGB7s7PQERZl9fyUC/
Xy4bfpnbaMwBSb2EkCeJQ2rz6pKc38HQWWhZ9p3TG/UCtRVqSgd5N8iOAAAAoGItZaZiLW
WmAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMOHLKZe+1ucWsYH
uzs9ARFmX1/JQL9fLht+mdtozAFJvYSQJ4lDavPqkpzfwdBZaFn2ndMb9QK1FWpKB3k3yI
4AAAAgJ3WzGe0P4nHr0FeXyMiZ5h1juuMRebv/zWpR8jX32/MAAAACZWMBAgMEBQY=
-----END OPENSSH PRIVATE KEY-----
`;

const SEED = new Uint8Array(32).fill(9);

Deno.test("parsePrivateKey() reads what ssh-keygen wrote", () => {
  const key = parsePrivateKey(PLAIN);
  assert.ok(key.kind === "plain");
  assert.equal(key.comment, "me@x");
  assert.deepEqual(identityFromSeed(key.seed).publicKey, key.publicKey);
  assert.equal(formatPublicKey(key.publicKey, key.comment), PLAIN_PUBLIC);
  assert.equal(fingerprint(key.publicKey), PLAIN_FINGERPRINT);
});

Deno.test("parsePrivateKey() recognises an encrypted key and still knows its public half", () => {
  const key = parsePrivateKey(ENCRYPTED);
  assert.ok(key.kind === "encrypted");
  assert.equal(key.cipher, "aes256-ctr");
  assert.equal(key.kdf, "bcrypt");
  assert.equal(formatPublicKey(key.publicKey, "enc"), ENCRYPTED_PUBLIC);
});

Deno.test("parsePrivateKey() reads what formatPrivateKey() wrote, for every padding", () => {
  for (let length = 0; length < 9; length++) {
    const comment = "x".repeat(length);
    const key = parsePrivateKey(formatPrivateKey(SEED, comment, 0xdeadbeef));
    assert.ok(key.kind === "plain");
    assert.deepEqual(key.seed, SEED);
    assert.equal(key.comment, comment);
  }
});

Deno.test("formatPrivateKey() writes the very file that ssh-keygen wrote", () => {
  const key = parsePrivateKey(PLAIN);
  assert.ok(key.kind === "plain");
  assert.equal(formatPrivateKey(key.seed, key.comment, PLAIN_CHECK), PLAIN);
});

Deno.test("parsePrivateKey() accepts Windows line ends", () => {
  assert.equal(parsePrivateKey(PLAIN.replaceAll("\n", "\r\n")).kind, "plain");
});

Deno.test("parsePrivateKey() tells another key type or format, with a way out", () => {
  const cases: [string, RegExp, RegExp][] = [
    [ECDSA, /ecdsa-sha2-nistp256, not ssh-ed25519/, /ssh-keygen -t ed25519/],
    [
      "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
      /RSA PRIVATE KEY/,
      /ssh-keygen -t ed25519/,
    ],
    [PLAIN_PUBLIC, /public half/, /without .pub/],
    ["", /not an OpenSSH key file/, /ssh-keygen/],
    ["hello", /not an OpenSSH key file/, /ssh-keygen/],
  ];
  for (const [text, message, hint] of cases) {
    assert.throws(
      () => parsePrivateKey(text),
      (error: Error & { code?: string; hint?: string }) => {
        assert.equal(error.code, "key-invalid");
        assert.match(error.message, message);
        assert.match(error.hint!, hint);
        return true;
      },
    );
  }
});

Deno.test("parsePrivateKey() refuses a file cut anywhere or with any byte changed in the key", () => {
  const lines = PLAIN.trim().split("\n");
  const blob = Uint8Array.fromBase64(lines.slice(1, -1).join(""));
  for (let length = 0; length < blob.length; length++) {
    const text = [lines[0], toBase64(blob.subarray(0, length)), lines.at(-1)].join("\n");
    assert.throws(() => parsePrivateKey(text), { code: "key-invalid" }, `${length} bytes`);
  }
  assert.throws(() => parsePrivateKey(lines.slice(0, -1).join("\n")), { code: "key-invalid" });
});

Deno.test("parsePrivateKey() throws nothing but key-invalid on hostile bytes", () => {
  const lines = PLAIN.trim().split("\n");
  const blob = Uint8Array.fromBase64(lines.slice(1, -1).join(""));
  fc.assert(
    fc.property(fc.nat(blob.length - 1), fc.nat(255), (at, value) => {
      const changed = blob.slice();
      changed[at] = value;
      try {
        parsePrivateKey([lines[0], toBase64(changed), lines.at(-1)].join("\n"));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "key-invalid", String(error));
      }
    }),
    { numRuns: 300, seed: 1 },
  );
});

Deno.test("parsePublicKey() reads formatPublicKey()'s line and refuses others", () => {
  const { publicKey } = identityFromSeed(SEED);
  const read = parsePublicKey(formatPublicKey(publicKey, "a b") + "\n");
  assert.deepEqual(read, { publicKey, comment: "a b" });
  assert.deepEqual(parsePublicKey(formatPublicKey(publicKey)).comment, "");
  for (const bad of ["", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-ed25519 AAAA"]) {
    assert.throws(() => parsePublicKey(bad), { code: "key-invalid" }, bad);
  }
});
