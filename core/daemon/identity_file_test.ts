/**
 * Tests of identity files together with the real ssh-keygen.
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fingerprint, formatPublicKey } from "../identity/openssh.ts";
import { loadOrCreateIdentity, type PassphraseRequest } from "./identity_file.ts";

async function withFolder(work: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "tunnelmesh-identity-" });
  try {
    await work(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function sshKeygen(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("ssh-keygen", { args }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

function answers(...texts: (string | null)[]) {
  const asked: PassphraseRequest[] = [];
  const askPassphrase = (request: PassphraseRequest) => {
    asked.push(request);
    return Promise.resolve(texts.shift() ?? null);
  };
  return { askPassphrase, asked };
}

Deno.test("loadOrCreateIdentity() makes a key that ssh-keygen reads, and reads it again", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "new/id_ed25519");
    const made = await loadOrCreateIdentity(path, { comment: "me@here" });
    assert.equal(made.isNew, true);
    const line = formatPublicKey(made.identity.publicKey, "me@here");
    assert.equal(await sshKeygen("-y", "-f", path), line);
    assert.equal(await Deno.readTextFile(`${path}.pub`), line + "\n");
    assert.match(
      await sshKeygen("-l", "-f", path),
      new RegExp(
        fingerprint(made.identity.publicKey).replaceAll("+", "\\+"),
      ),
    );
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    assert.equal((await Deno.stat(join(folder, "new"))).mode! & 0o777, 0o700);
    const again = await loadOrCreateIdentity(path);
    assert.equal(again.isNew, false);
    assert.deepEqual(again.identity, made.identity);
    const names = [...Deno.readDirSync(join(folder, "new"))].map((entry) => entry.name).sort();
    assert.deepEqual(names, ["id_ed25519", "id_ed25519.pub"]);
  });
});

Deno.test("loadOrCreateIdentity() makes one identity when called many times at once", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "id_ed25519");
    const all = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateIdentity(path)));
    assert.equal(new Set(all.map((each) => each.identity.peerId)).size, 1);
    assert.equal(all.filter((each) => each.isNew).length, 1);
  });
});

Deno.test("loadOrCreateIdentity() reads a key of ssh-keygen without passphrase", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "key");
    await sshKeygen("-q", "-t", "ed25519", "-N", "", "-C", "c", "-f", path);
    const { identity, isNew } = await loadOrCreateIdentity(path);
    assert.equal(isNew, false);
    assert.equal(formatPublicKey(identity.publicKey, "c"), await sshKeygen("-y", "-f", path));
  });
});

Deno.test("loadOrCreateIdentity() asks for the passphrase of an encrypted key", async () => {
  await withFolder(async (folder) => {
    for (const cipher of ["aes256-ctr", "aes256-gcm@openssh.com"]) {
      const path = join(folder, cipher);
      const args = ["-q", "-t", "ed25519", "-N", "secret", "-Z", cipher, "-a", "4", "-f", path];
      await sshKeygen(...args);
      const { askPassphrase, asked } = answers("wrong", "", "secret");
      const { identity } = await loadOrCreateIdentity(path, { askPassphrase });
      assert.equal(
        formatPublicKey(identity.publicKey),
        (await sshKeygen("-y", "-P", "secret", "-f", path)).split(" ").slice(0, 2).join(" "),
      );
      assert.deepEqual(asked.map((request) => request.attempt), [1, 2, 3]);
      assert.equal(asked[0]!.fingerprint, fingerprint(identity.publicKey));
    }
  });
});

Deno.test("loadOrCreateIdentity() fails with passphrase-wrong when it cannot open the key", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "key");
    await sshKeygen("-q", "-t", "ed25519", "-N", "secret", "-a", "4", "-f", path);
    const code = { code: "passphrase-wrong" };
    await assert.rejects(loadOrCreateIdentity(path), code);
    await assert.rejects(loadOrCreateIdentity(path, answers("a", "b", "c")), code);
    const { askPassphrase, asked } = answers(null);
    await assert.rejects(loadOrCreateIdentity(path, { askPassphrase }), code);
    assert.equal(asked.length, 1, "gives up when the user does");
  });
});

Deno.test("loadOrCreateIdentity() refuses a key that others can read", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "key");
    await loadOrCreateIdentity(path);
    for (const mode of [0o640, 0o604, 0o660, 0o777]) {
      await Deno.chmod(path, mode);
      const error = await loadOrCreateIdentity(path).catch((error) => error);
      assert.equal(error.code, "key-invalid");
      assert.match(error.message, /others can read it \(mode 0\d{3}\)/);
      assert.match(error.hint, /chmod 600/);
    }
    await Deno.chmod(path, 0o400);
    assert.equal((await loadOrCreateIdentity(path)).isNew, false);
  });
});

Deno.test("loadOrCreateIdentity() refuses what is no ed25519 key, with a way out", async () => {
  await withFolder(async (folder) => {
    for (const type of ["rsa", "ecdsa"]) {
      const path = join(folder, type);
      await sshKeygen("-q", "-t", type, "-N", "", "-f", path);
      const error = await loadOrCreateIdentity(path).catch((error) => error);
      assert.equal(error.code, "key-invalid");
      assert.ok(error.message.includes(path));
      assert.match(error.hint, /ssh-keygen -t ed25519/);
    }
    await assert.rejects(loadOrCreateIdentity(folder), { code: "key-invalid" });
    const missing = join(folder, "missing");
    await assert.rejects(loadOrCreateIdentity(missing, { create: false }), { code: "key-invalid" });
  });
});
