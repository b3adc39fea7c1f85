/**
 * Signed requests to the coordinator as tests make them, good ones and others.
 * @module
 */
import { toBase64Url } from "../core/bytes.ts";
import {
  type CallMethod,
  PATHS,
  signCall,
  signRegistration,
  tokenProofBytes,
} from "../core/control/envelope.ts";
import type { Envelope, RegisterBody } from "../core/control/messages.ts";
import { type Identity, sign } from "../core/identity/keys.ts";
import { tokenIdOf } from "../core/identity/token.ts";
import { admissionKey } from "../core/state/admission.ts";
import type { SignedEntry } from "../core/state/entry.ts";
import type { World } from "./coordinator_world.ts";
import { admission, drafted, joining, keyOf } from "./mesh_fixture.ts";

/** A registration as it goes over the wire, with what a test wants different. */
export function registration(
  world: World,
  identity: Identity,
  over: Partial<RegisterBody> = {},
  signer = identity,
): Envelope {
  const text = keyOf(identity);
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

export function call(
  world: World,
  identity: Identity,
  method: CallMethod,
  path: string,
  body = {},
) {
  const text = keyOf(identity);
  const { challenge } = world.service.challenge({ identity: text }, world.moment);
  return signCall(identity, { method, path, body: { challenge, identity: text, ...body } });
}

/** A registration with what a token admits by. */
export function joinRequest(
  world: World,
  identity: Identity,
  secret: Uint8Array,
  over = {},
): Envelope {
  const entries = joining(world.log, secret, identity, world.wallTime);
  return registration(world, identity, { entries, ...over });
}

/** The registration of a mesh's first node, with a signature of that secret's key. */
export function firstRequest(world: World, identity: Identity, secret: Uint8Array, user = "anna") {
  const text = keyOf(identity);
  const { challenge } = world.service.challenge({ identity: text }, world.moment);
  const proof = sign(admissionKey(secret), tokenProofBytes(challenge, text));
  const first = { signature: toBase64Url(proof), user };
  return registration(world, identity, { challenge, first });
}

/** Reads the log as an invited machine does, by that secret; null for none. */
export function logRequest(world: World, identity: Identity, secret: Uint8Array | null, from = 0) {
  const text = keyOf(identity);
  const { challenge } = world.service.challenge({ identity: text }, world.moment);
  const token = secret && {
    id: tokenIdOf(secret),
    signature: toBase64Url(sign(admissionKey(secret), tokenProofBytes(challenge, text))),
  };
  const body = { challenge, from, ...(token ? { token } : {}) };
  return call(world, identity, "POST", PATHS.logRead, body);
}

export function appendRequest(world: World, identity: Identity, entries: readonly SignedEntry[]) {
  return call(world, identity, "POST", PATHS.log, { entries });
}

/** What a second machine would bring for a token whose right it took from the log itself. */
export function joinRequestOf(world: World, secret: Uint8Array, identity: Identity) {
  const { limits: { user }, id: authority } = world.log.state.authorities.get(tokenIdOf(secret))!;
  const body = admission(world.log, identity, { user, authority });
  return { entries: [drafted(world.log, body, { by: admissionKey(secret) })] };
}
