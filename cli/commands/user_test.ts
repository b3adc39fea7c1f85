import assert from "node:assert/strict";
import { fromBase64Url } from "../../core/bytes.ts";
import { fingerprint, formatPrivateKey, formatPublicKey } from "../../core/identity/openssh.ts";
import { actor, keyOf, START } from "../../core/state/fake_mesh.ts";
import { TestUser } from "../testing_command.ts";

/** The private key's file of an actor. */
function privateFile(number: number): string {
  const seed = new Uint8Array(32);
  new DataView(seed.buffer).setUint32(0, number);
  return formatPrivateKey(seed, "", 1);
}

function publicLine(number: number): string {
  return formatPublicKey(actor(number).publicKey, "somebody");
}

function userNamed(user: TestUser, name: string) {
  return user.mesh.state.users.values().find((each) => each.name === name);
}

Deno.test("user add takes a .pub file, a line, or a private key's public half", async () => {
  await using user = new TestUser();
  user.write("carol.pub", `${publicLine(3)}\n`);
  user.write("eve", privateFile(5), 0o600);
  assert.match(
    (await user.run("user", "add", "carol", "carol.pub")).text,
    /^User carol is added, key SHA256:/,
  );
  await user.run("user", "add", "dora", publicLine(4));
  await user.run("user", "add", "eve", "eve");
  assert.deepEqual(
    ["carol", "dora", "eve"].map((name) => userNamed(user, name)!.key),
    [3, 4, 5].map((number) => keyOf(actor(number))),
  );
});

const REFUSED: [words: string[], message: RegExp, hint: RegExp][] = [
  [["user", "add", "x", "gone.pub"], /no such file/, /quote the line/],
  [["user", "add", "bob", publicLine(3)], /there is a user bob/, /^$/],
  [["user", "add", "x", "ssh-rsa AAAA"], /ssh-rsa|ed25519/, /ed25519/],
  [["user", "remove", "bbo", "-y"], /Cannot find user "bbo"/, /"bob"/],
  [["user", "remove", "anna", "-y"], /there is no other/, /another user an admin first/],
  [["user", "demote", "anna", "-y"], /there is no other/, /another user an admin first/],
  [["user", "remove", "bob"], /no terminal/, /--yes/],
  [["user", "rotate-key", "anna", publicLine(9)], /the new one has to sign/, /private key's file/],
  [["node", "revoke", "nsa", "-y"], /Cannot find node "nsa"/, /"nas"/],
  [["node", "tag", "nas"], /no tag is named/, /server/],
  [["node", "tag", "nas", "--remove", "web"], /nas has no tag web/, /server/],
  [["node", "tag", "nas", "--remove", "server", "-y"], /a node is a user's or has a tag/, /^$/],
];

for (const [words, message, hint] of REFUSED) {
  Deno.test(`tunnelmesh ${words.join(" ").slice(0, 60)} is refused with what to do`, async () => {
    await using user = new TestUser();
    const before = user.mesh.mesh.log.head;
    const { error } = await user.run(...words);
    assert.match(error?.message ?? "", message);
    assert.match(error?.hint ?? "", hint);
    assert.deepEqual(user.mesh.mesh.log.head, before);
  });
}

Deno.test("user remove tells what ends and revokes the nodes", async () => {
  await using user = new TestUser();
  const { text } = await user.run("user", "rm", "bob", "-y");
  assert.match(text, /loses?.*\n[\s\S]*User bob is removed, 1 node revoked \(desk\)\n$/);
  assert.equal(user.mesh.state.users.size, 1);
  assert.ok(user.mesh.state.revoked.has(actor(12).peerId));
});

Deno.test("user rename tells what a policy with the old name means then", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", "rules:\n  - { from: user:bob, to: nas, ports: ssh }\n");
  await user.run("policy", "apply", "policy.yaml", "-y");
  const { text, error } = await user.run("user", "rename", "bob", "robert", "-y");
  assert.equal(error, null);
  assert.match(text, /loses tcp\/22.*\n[\s\S]*User bob is robert now\n$/);
  assert.ok(userNamed(user, "robert"));
  // Nobody names robert, so that nothing is asked.
  const again = await user.run("user", "rename", "robert", "bobby");
  assert.equal(again.text, "User robert is bobby now\n");
});

Deno.test("user promote and demote", async () => {
  await using user = new TestUser();
  await user.run("user", "promote", "bob", "-y");
  assert.equal(userNamed(user, "bob")!.isAdmin, true);
  user.write("bob", privateFile(2), 0o600);
  const { code } = await user.run("user", "demote", "anna", "-y", "--key", "bob");
  assert.equal(code, 0);
  assert.equal(userNamed(user, "anna")!.isAdmin, false);
  assert.equal((await user.run("user", "promote", "anna", "-y")).error!.code, "entry-forbidden");
});

Deno.test("user rotate-key: an admin with the public key, oneself with the private one", async () => {
  await using user = new TestUser();
  const other = await user.run("user", "rotate-key", "bob", publicLine(8));
  assert.equal(other.error, null);
  assert.equal(userNamed(user, "bob")!.key, keyOf(actor(8)));
  user.write("new", privateFile(9), 0o600);
  const own = await user.run("user", "rotate-key", "anna", "new");
  assert.equal(own.error, null);
  assert.equal(userNamed(user, "anna")!.key, keyOf(actor(9)));
  // The daemon's own identity is the old key.
  const { error } = await user.run("node", "renew", "nas");
  assert.match(error!.message, /its key was replaced/);
  assert.equal((await user.run("node", "renew", "nas", "--key", "new")).code, 0);
});

Deno.test("node revoke, tag and renew change the mesh and tell who loses what", async () => {
  await using user = new TestUser();
  user.write("policy.yaml", "rules:\n  - { from: everyone, to: tag:server, ports: ssh }\n");
  await user.run("policy", "apply", "policy.yaml", "-y");
  const tagged = await user.run(
    "node",
    "tag",
    "cam",
    "server",
    "web",
    "--remove",
    "untrusted",
    "-y",
  );
  assert.match(tagged.text, /gains? tcp\/22.*\nNode cam has tags server, web\n$/);
  assert.deepEqual(user.mesh.state.nodes.get(actor(13).peerId)!.tags, ["server", "web"]);
  await user.run("node", "renew", "cam", "--after", "12h");
  assert.equal(user.mesh.state.nodes.get(actor(13).peerId)!.expiresAfterMs, 43_200_000);
  await user.run("node", "renew", "cam");
  assert.equal(user.mesh.state.nodes.get(actor(13).peerId)!.expiresAfterMs, 43_200_000);
  const revoked = await user.run("node", "revoke", "cam.mesh", "--reason", "Stolen", "-y");
  assert.match(revoked.text, /Node cam is revoked\n$/);
  assert.equal(user.mesh.state.revoked.get(actor(13).peerId)!.reason, "Stolen");
});

Deno.test("user list and node list", async () => {
  await using user = new TestUser();
  const users = (await user.run("user", "list")).text.split("\n");
  const key = fingerprint(fromBase64Url(keyOf(actor(1))));
  assert.equal(users[1], `anna (you)  admin  laptop  ${key}  2027-01-15 08:00 UTC`);
  const nodes = (await user.run("node", "list")).text.split("\n");
  assert.match(nodes[1]!, /^cam +- +untrusted +seen 2027-01-15 08:00 UTC +never +[0-9a-f]{16}$/);
  const json = (await user.run("user", "list", "--json")).text.split("\n");
  assert.deepEqual(JSON.parse(json[1]!).nodes, ["desk"]);
});

Deno.test("audit tells who changed what, since when, and by whom", async () => {
  await using user = new TestUser();
  await user.run("user", "promote", "bob", "-y");
  user.mesh.signer = actor(2);
  await user.run("user", "rename", "anna", "ann", "-y");
  const lines = (await user.run("audit")).text.split("\n");
  assert.match(
    lines[1]!,
    /^ +0 +2027-01-15 08:00 UTC +anna +genesis +\+ user:[0-9a-f]{16} \(anna\)$/,
  );
  assert.match(lines[7]!, / admin-add +user:\w+ \(bob\) isAdmin false -> true$/);
  assert.match(lines[8]!, / bob +user-rename +user:\w+ \(ann\) name anna -> ann$/);
  const own = (await user.run("audit", "--user", "bob", "--json")).text.trim().split("\n");
  assert.deepEqual(own.map((line) => JSON.parse(line).action), ["user-rename"]);
  const from = new Date(START + 5_000).toISOString();
  assert.equal(
    (await user.run("audit", "--since", from, "--json")).text.trim().split("\n").length,
    3,
  );
  assert.match((await user.run("audit", "--since", "9999-01-01")).text, /Nothing was changed/);
});
