/**
 * Makes the identity key, or says what is in the file that is there.
 * @module
 */
import { lchownSync } from "node:fs";
import { loadOrCreateIdentity } from "../core/daemon/identity_file.ts";
import { peerIdOf } from "../core/identity/keys.ts";
import { fingerprint, parsePrivateKey } from "../core/identity/openssh.ts";
import { makeDirectory, readIfPresent } from "./files.ts";
import { directoryOf } from "./paths.ts";
import type { FileOwner } from "./run_options.ts";

/** What is known of an identity without its passphrase. */
export interface IdentityFacts {
  readonly path: string;
  /** Whether it was made just now. */
  readonly isNew: boolean;
  /** As `ssh-keygen -l` shows it. */
  readonly fingerprint: string;
  readonly peerId: string;
}

/**
 * Reads the identity key in `path`, or makes one (0600) with its public key beside it (`.pub`), both
 * belonging to `owner`.
 *
 * @throws {MeshError} `key-invalid` when the file holds no ed25519 key in OpenSSH format.
 */
export async function ensureIdentity(
  path: string,
  owner: FileOwner | null,
): Promise<IdentityFacts> {
  const text = readIfPresent(path);
  if (text !== null) return factsOf(path, parsePrivateKey(text).publicKey, false);
  makeDirectory(directoryOf(path), owner);
  const { identity } = await loadOrCreateIdentity(path);
  if (owner) {
    for (const each of [path, `${path}.pub`]) lchownSync(each, owner.uid, owner.gid);
  }
  return factsOf(path, identity.publicKey, true);
}

function factsOf(path: string, publicKey: Uint8Array, isNew: boolean): IdentityFacts {
  return { path, isNew, fingerprint: fingerprint(publicKey), peerId: peerIdOf(publicKey) };
}
