/**
 * A mesh's log for tests: people with keys from small numbers, who say things.
 * @module
 */
import { toBase64Url } from "../bytes.ts";
import { type Identity, identityFromSeed, sign } from "../identity/keys.ts";
import { type Body, type Limits, proofBytes, sortedSet } from "./bodies.ts";
import { type SignedEntry, signEntry } from "./entry.ts";
import { draftGenesis, MeshLog } from "./log.ts";
import type { z } from "zod";

/** Wall time at which {@link FakeMesh} begins. */
export const START = 1_800_000_000_000;

const identities = new Map<number, Identity>();

/** A person or machine by its number. */
export function actor(number: number): Identity {
  let identity = identities.get(number);
  if (!identity) {
    const seed = new Uint8Array(32);
    new DataView(seed.buffer).setUint32(0, number);
    identities.set(number, identity = identityFromSeed(seed));
  }
  return identity;
}

/** base64url of an actor's public key. */
export function keyOf(identity: Identity): string {
  return toBase64Url(identity.publicKey);
}

/** The genesis of a mesh that `first` makes. */
export function genesisBy(first: Identity, nonce = "0".repeat(32)): SignedEntry {
  return signEntry(first, draftGenesis("anna", nonce, START));
}

/** A log and who appends to it. */
export class FakeMesh {
  readonly first: Identity;
  readonly log: MeshLog;
  #now = START;

  constructor(first: Identity = actor(1), nonce?: string) {
    this.first = first;
    this.log = MeshLog.begin(genesisBy(first, nonce), null);
  }

  get entries(): SignedEntry[] {
    return this.log.since(0).map(({ signed }) => signed);
  }

  /** Signs what would follow now, without appending it. */
  draft(by: Identity, body: Body, at: number = this.#now + 1000): SignedEntry {
    return signEntry(by, this.log.draft(body, at));
  }

  /** Signs and appends. */
  say(by: Identity, body: Body): SignedEntry {
    const signed = this.draft(by, body);
    this.log.append(signed);
    this.#now += 1000;
    return signed;
  }

  addUser(user: Identity, name: string): void {
    this.say(this.first, { type: "user-add", name, key: keyOf(user) });
  }

  addAdmin(user: Identity, name: string): void {
    this.addUser(user, name);
    this.say(this.first, { type: "admin-add", user: user.peerId, key: keyOf(user) });
  }

  snapshot(by: Identity, stateHash: string): SignedEntry {
    return this.say(by, { type: "snapshot", stateHash });
  }
}

/** A change of the first user's name: an entry that changes little. */
export function renameBody(name: string, user: Identity = actor(1)): Body {
  return { type: "user-rename", user: user.peerId, name };
}

/** An admission by an admin. */
export function admitBody(
  node: Identity,
  owner: { readonly user?: Identity; readonly tags?: readonly string[] },
  authority: string | null = null,
): Body {
  return {
    type: "node-admit",
    identity: keyOf(node),
    user: owner.user?.peerId ?? null,
    tags: sortedSet(owner.tags ?? []),
    expiresAfterMs: null,
    authority,
  };
}

/** What a key may admit: nodes of tag "web". */
export function limitsOf(limits: Partial<z.infer<typeof Limits>> = {}): z.infer<typeof Limits> {
  return {
    maxNodes: 1,
    expiresAt: null,
    user: null,
    tags: ["web"],
    expiresAfterMs: null,
    ...limits,
  };
}

/** The right "t1" of a key to admit; null limits withdraw it. */
export function authorityBody(key: Identity, limits: z.infer<typeof Limits> | null): Body {
  return { type: "token-authority", authority: "t1", key: keyOf(key), limits, note: "a note" };
}

/** The rotation of `user`'s key to that of `next`, who signs it too when `isProven`. */
export function rotateBody(
  meshId: string,
  user: string,
  next: Identity,
  isProven: boolean,
): Body {
  const key = keyOf(next);
  const proof = isProven ? toBase64Url(sign(next, proofBytes(meshId, user, key))) : null;
  return { type: "key-rotate", user, key, proof };
}
