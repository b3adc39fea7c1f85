import assert from "node:assert/strict";
import { formatPublicKey } from "../../core/identity/openssh.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { decodeToken } from "../../core/identity/token.ts";
import { DAY_MS } from "../../core/state/expiry.ts";
import { actor, keyOf } from "../../core/state/fake_mesh.ts";
import type { MemberNode } from "../../core/state/state.ts";
import { TestUser } from "../testing_command.ts";

const [ANNA, BOB, NAS, DESK, NEW] = [actor(1), actor(2), actor(11), actor(12), actor(50)];

function publicLine(identity: Identity): string {
  return formatPublicKey(identity.publicKey, "somebody");
}

function member(user: TestUser, { peerId }: Identity): MemberNode | undefined {
  return user.mesh.state.nodes.get(peerId);
}

Deno.test("node admit brings a revoked node back as it was, by name, id or key", async () => {
  await using user = new TestUser();
  for (const argument of ["desk", DESK.peerId, publicLine(DESK)]) {
    const before = member(user, DESK)!;
    await user.run("node", "revoke", "desk", "-y");
    assert.equal(member(user, DESK), undefined);
    const { text, error } = await user.run("node", "admit", argument, "-y");
    assert.equal(error, null);
    const { renewedAt: _, ...rest } = before;
    const { renewedAt: __, ...back } = member(user, DESK)!;
    assert.deepEqual(back, rest);
    assert.equal(back.user, BOB.peerId, "it is bob's, not the admin's");
    assert.match(text, /gains?[\s\S]*Node desk is admitted, key SHA256:\S+, for bob; it never exp/);
    assert.match(text, /comes back by itself; where it was reset/);
    assert.equal(user.mesh.state.revoked.size, 0);
  }
});

Deno.test("node admit asks before it lets a revoked node in", async () => {
  await using user = new TestUser();
  await user.run("node", "revoke", "nas", "-y");
  const { error } = await user.run("node", "admit", "nas");
  assert.match(error?.hint ?? "", /--yes/);
  assert.equal(member(user, NAS), undefined);
});

Deno.test("node admit takes a new machine by its key and says how it joins", async () => {
  await using user = new TestUser();
  user.write("new.pub", publicLine(NEW));
  const words = ["new.pub", "--tag", "web", "--tag", "db", "--expires-after", "30d", "-y"];
  const { text, error } = await user.run("node", "admit", ...words);
  assert.equal(error, null);
  const { tags, user: owner, expiresAfterMs, identity } = member(user, NEW)!;
  assert.deepEqual(
    [tags, owner, expiresAfterMs, identity],
    [["db", "web"], null, 30 * DAY_MS, keyOf(NEW)],
  );
  assert.match(text, /for tag:db tag:web; it expires when it is away for 30 days\.\n/);
  const token = /join https:\S+ --token (tm2_\S+)/.exec(text)?.[1] ?? "";
  assert.equal(decodeToken(token).meshId, user.mesh.state.meshId);
  assert.equal(user.mesh.state.authorities.size, 0, "the line admits nobody else");
});

Deno.test("node admit gives a machine to the named user, else to the admin who says it", async () => {
  await using user = new TestUser();
  await user.run(
    "node",
    "admit",
    publicLine(NEW),
    "--user",
    "bob",
    "--expires-after",
    "never",
    "-y",
  );
  assert.deepEqual([member(user, NEW)!.user, member(user, NEW)!.expiresAfterMs], [
    BOB.peerId,
    null,
  ]);
  await user.run("node", "admit", publicLine(actor(51)), "-y");
  const own = member(user, actor(51))!;
  assert.deepEqual([own.user, own.expiresAfterMs], [ANNA.peerId, 180 * DAY_MS]);
});

Deno.test("node admit lets nobody inherit the machine of a user who is gone", async () => {
  await using user = new TestUser();
  await user.run("user", "remove", "bob", "-y");
  const { error } = await user.run("node", "admit", "desk", "-y");
  assert.match(error?.message ?? "", /whose it was is not known any more/);
  assert.match(error?.hint ?? "", /--user NAME or --tag TAG/);
  await user.run("node", "admit", "desk", "--user", "anna", "-y");
  assert.equal(member(user, DESK)?.user, ANNA.peerId);
});

const REFUSED: [argument: string, message: RegExp, hint: RegExp][] = [
  ["nas", /nas: it is a member already/, /node renew nas/],
  [publicLine(NAS), /nas: it is a member already/, /node renew nas/],
  ["nobody", /"nobody": no such node was revoked/, /Revoked are: desk \([0-9a-f]{16}\)\. .*\.pub/],
  ["ssh-rsa AAAA", /ssh-rsa|ed25519/, /ed25519/],
];

for (const [argument, message, hint] of REFUSED) {
  Deno.test(`node admit ${argument.slice(0, 20)} is refused with what to do`, async () => {
    await using user = new TestUser();
    await user.run("node", "revoke", "desk", "-y");
    const { head } = user.mesh.mesh.log;
    const { error } = await user.run("node", "admit", argument, "-y");
    assert.match(error?.message ?? "", message);
    assert.match(error?.hint ?? "", hint);
    assert.deepEqual(user.mesh.mesh.log.head, head);
  });
}
