import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import {
  type CallMethod,
  formatAuthorization,
  signCall,
  signRegistration,
} from "../../core/control/envelope.ts";
import type { Envelope, RegisterBody } from "../../core/control/messages.ts";
import { type ErrorCode, MeshError } from "../../core/errors.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { signNodeRecord } from "../../core/identity/record.ts";
import { decodeToken, formatCredential } from "../../core/identity/token.ts";
import { identityOf, World } from "../../tests/coordinator_world.ts";
import { CHALLENGE_LIFE_MS } from "./challenges.ts";
import { parseAuthorization } from "./service.ts";

const [ADMIN, NODE, STRANGER] = [0, 1, 2].map(identityOf) as [Identity, Identity, Identity];

function refuses(run: () => unknown, code: ErrorCode): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof MeshError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

/** A registration as it goes over the wire, with what a test wants different. */
function registration(
  world: World,
  identity: Identity,
  over: Partial<RegisterBody> = {},
  signer = identity,
): Envelope {
  const text = toBase64Url(identity.publicKey);
  const { challenge } = world.service.challenge({ identity: text }, world.moment);
  return signRegistration(signer, {
    challenge,
    identity: text,
    name: "node",
    aliases: [],
    version: "test",
    time: 0,
    ...over,
  });
}

function call(world: World, identity: Identity, method: CallMethod, path: string, body = {}) {
  const text = toBase64Url(identity.publicKey);
  const { challenge } = world.service.challenge({ identity: text }, world.moment);
  return signCall(identity, { method, path, body: { challenge, identity: text, ...body } });
}

function credentialOf(token: string): string {
  return formatCredential(decodeToken(token));
}

Deno.test("Service.register() admits by token, and by identity ever after", () => {
  const world = new World();
  const token = credentialOf(world.token({}));
  const first = world.service.register(registration(world, ADMIN, { token }), world.moment);
  const { reply } = world.service.register(registration(world, ADMIN), world.moment);
  assert.deepEqual(reply, first.reply);
  assert.deepEqual([reply.id, reply.isAdmin, reply.recordSeq], [ADMIN.peerId, true, -1]);
  assert.deepEqual(reply.addresses[0], "172.30.0.1");
});

const BAD: [
  name: string,
  make: (world: World, token: string) => Envelope,
  code: ErrorCode,
][] = [
  ["no token", (w) => registration(w, NODE), "token-invalid"],
  ["a malformed token", (w) => registration(w, NODE, { token: "x.y" }), "token-invalid"],
  [
    "another's signature",
    (w, token) => registration(w, NODE, { token }, STRANGER),
    "identity-mismatch",
  ],
  ["a body changed after it was signed", (w, token) => {
    const envelope = registration(w, NODE, { token });
    return { ...envelope, body: envelope.body.replace('"node"', '"evil"') };
  }, "identity-mismatch"],
  ["a challenge of another identity", (w, token) => {
    const text = toBase64Url(STRANGER.publicKey);
    const { challenge } = w.service.challenge({ identity: text }, w.moment);
    return registration(w, NODE, { token, challenge });
  }, "challenge-invalid"],
  ["an expired challenge", (w, token) => {
    const envelope = registration(w, NODE, { token });
    w.now += CHALLENGE_LIFE_MS;
    return envelope;
  }, "challenge-invalid"],
  [
    "a reserved name",
    (w, token) => registration(w, NODE, { token, name: "this" }),
    "name-reserved",
  ],
  ["no name", (w, token) => registration(w, NODE, { token, name: "" }), "protocol-invalid"],
  ["an unknown key", (w, token) => {
    return registration(w, NODE, { token, isAdmin: true } as Partial<RegisterBody>);
  }, "protocol-invalid"],
  ["the signature of a call", (w, token) => {
    const body = { name: "node", aliases: [], version: "", time: 0, token };
    return call(w, NODE, "POST", "/api/v1/register", body);
  }, "identity-mismatch"],
];

for (const [name, make, code] of BAD) {
  Deno.test(`Service.register() refuses ${name}`, () => {
    const world = new World();
    const envelope = make(world, credentialOf(world.token()));
    const before = world.service.state;
    refuses(() => world.service.register(envelope, world.moment), code);
    assert.equal(world.service.state, before);
  });
}

Deno.test("Service.register() takes an envelope once, also one that was refused", () => {
  const world = new World();
  const good = registration(world, NODE, { token: credentialOf(world.token()) });
  const bad = registration(world, STRANGER);
  world.service.register(good, world.moment);
  refuses(() => world.service.register(good, world.moment), "challenge-invalid");
  refuses(() => world.service.register(bad, world.moment), "token-invalid");
  refuses(() => world.service.register(bad, world.moment), "challenge-invalid");
});

Deno.test("Service lets admins make, list and revoke tokens, and nobody else", () => {
  const world = new World();
  world.register(ADMIN, { name: "admin-pc" }, world.token());
  world.register(NODE, {}, world.token());
  const { service, moment } = world;
  const path = "/api/v1/tokens";
  const make = (identity: Identity) =>
    service.createTokenFor(call(world, identity, "POST", path, { note: "for Bob" }), moment);
  refuses(() => make(NODE), "forbidden");
  refuses(() => make(STRANGER), "peer-unknown");
  const { token, info } = make(ADMIN).reply;
  assert.deepEqual([info.note, info.state, info.createdBy], ["for Bob", "valid", ADMIN.peerId]);

  world.register(STRANGER, {}, token);
  const listed = service.listTokensFor(call(world, ADMIN, "GET", path), moment).tokens;
  assert.deepEqual(listed.find(({ id }) => id === info.id)?.state, "used");
  assert.ok(!JSON.stringify(listed).includes(decodeToken(token).secret.toHex()));
  refuses(() => service.listTokensFor(call(world, NODE, "GET", path), moment), "forbidden");

  const one = `${path}/${info.id}`;
  refuses(
    () => service.revokeTokenFor(info.id, call(world, NODE, "DELETE", one), moment),
    "forbidden",
  );
  const other = call(world, ADMIN, "DELETE", `${path}/AAAAAAAAAAA`);
  refuses(() => service.revokeTokenFor(info.id, other, moment), "identity-mismatch");
  service.revokeTokenFor(info.id, call(world, ADMIN, "DELETE", one), moment);
  assert.equal(world.service.state.tokens.get(info.id)?.revokedAt, moment.wallTime);
});

Deno.test("Service.leave() frees a node's name and address by its own farewell only", () => {
  const world = new World();
  const admin = world.register(ADMIN, { name: "a" }, world.token());
  const node = world.register(NODE, { name: "b" }, world.token());
  const farewell = (identity: Identity, of = node) => ({
    record: signNodeRecord(identity, {
      name: of.name,
      addresses: [...of.addresses],
      aliases: [],
      meshId: of.meshId,
      seq: 1,
      left: true,
    }),
  });
  const path = `/api/v1/nodes/${node.id}`;
  const leave = (identity: Identity, body: object) => () =>
    world.service.leave(node.id, call(world, identity, "DELETE", path, body), world.moment);
  refuses(leave(ADMIN, farewell(ADMIN, admin)), "forbidden");
  refuses(leave(ADMIN, farewell(NODE)), "forbidden");
  const forged = farewell(NODE);
  forged.record.signature = farewell(ADMIN).record.signature;
  refuses(leave(NODE, forged), "record-invalid");
  assert.deepEqual(leave(NODE, farewell(NODE))().events, [{ type: "node-left", id: node.id }]);
  const next = world.register(STRANGER, { name: "b" }, world.token());
  assert.deepEqual([next.name, next.addresses[0]], ["b", node.addresses[0]]);
});

Deno.test("parseAuthorization() reads what formatAuthorization() writes and refuses the rest", () => {
  const envelope = { body: '{"a":"ä"}', signature: "A".repeat(86) };
  assert.deepEqual(parseAuthorization(formatAuthorization(envelope)), envelope);
  for (
    const header of [undefined, "", "Bearer x", `TunnelMesh .${"A".repeat(86)}`, "TunnelMesh a"]
  ) {
    refuses(() => parseAuthorization(header), "challenge-invalid");
  }
});
