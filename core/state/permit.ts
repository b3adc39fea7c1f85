/**
 * Who may state what? The one place where a signer's right to an entry is decided.
 *
 * | signer | may state |
 * | --- | --- |
 * | the key of an admin | everything; a node-admit in their own name |
 * | the key of a user | the rotation of their own key |
 * | the key of a node | the node-revoke of itself: it leaves |
 * | the key of a token-authority | node-admit within its limits |
 *
 * **Why token authorities.** A join token has to work while no admin is there, so somebody else
 * must be able to sign an admission. An authority is a public key with limits (how many nodes, until
 * when, whose, which tags, which expiry), signed by an admin. Who has the private half is not the
 * log's affair, and there are two good answers:
 *
 * - **the join token**: its secret is the seed of the key, the joining node signs its own
 *   admission, and no coordinator can admit anybody. This is the one to use.
 * - **a coordinator**, with its identity key: tokens are then its own bookkeeping, and it can admit
 *   strangers, but only so many, only for that user or those tags, and in sight of everyone.
 *
 * Either way every node checks the limits itself. One limit is softer than it looks: when an
 * admission was made is its signer's word, bounded by the last entry of an admin. A coordinator that
 * helps the holder of an expired token can date their admission back to then; withdrawing a token
 * ends it for certain. A node that an admin revoked comes back by an admin only: otherwise a token
 * that is still good would undo the revocation.
 *
 * **Leaving.** What a machine's own key revokes has left and may come back by a token, also where
 * that key is an admin's. Who stole a key gains nothing by it: a token admits any new key as well.
 * @module
 */
import { fromBase64Url } from "../bytes.ts";
import { MeshError } from "../errors.ts";
import { peerIdOf, verify } from "../identity/keys.ts";
import { type BodyOf, proofBytes } from "./bodies.ts";
import type { Entry, VerifiedEntry } from "./entry.ts";
import { type Authority, type MemberNode, type MeshState, type User, userOfKey } from "./state.ts";

/** On whose behalf an entry holds. */
export type Actor =
  | { readonly type: "admin"; readonly user: User }
  | { readonly type: "user"; readonly user: User }
  | { readonly type: "node"; readonly node: MemberNode }
  | { readonly type: "authority"; readonly authority: Authority };

/**
 * Who the signer of an entry is, at that point of the log.
 * @throws {MeshError} "entry-forbidden" for one who may not say that, "authority-exceeded"
 */
export function permit(state: MeshState, { entry, signer }: VerifiedEntry): Actor {
  const { body } = entry;
  const user = userOfKey(state, signer);
  if (body.type === "node-admit" && body.authority !== null) {
    return { type: "authority", authority: admitting(state, body, signer, entry) };
  }
  if (body.type === "key-rotate" && user?.id === body.user) {
    expectProof(body, entry.meshId);
    return { type: user.isAdmin ? "admin" : "user", user };
  }
  const node = body.type === "node-revoke" ? state.nodes.get(body.node) : undefined;
  if (node?.identity === signer) return { type: "node", node };
  if (user?.isAdmin) return { type: "admin", user };
  const who = user
    ? `user ${user.name} is no admin`
    : state.retiredKeys.has(signer)
    ? "its key was replaced or belonged to a user who was removed"
    : "its key is nobody's in this mesh";
  throw new MeshError("entry-forbidden", `Cannot accept ${body.type} ${entry.seq}: ${who}`);
}

/**
 * Checks that a new key signed its own rotation.
 * @throws {MeshError} "entry-forbidden"
 */
export function expectProof(body: BodyOf<"key-rotate">, meshId: string): void {
  const bytes = proofBytes(meshId, body.user, body.key);
  const isProven = body.proof !== null &&
    verify(fromBase64Url(body.key), bytes, fromBase64Url(body.proof));
  if (isProven) return;
  throw new MeshError("entry-forbidden", "Cannot rotate key: the new key did not sign the change");
}

/** The right by which a node is admitted, when that right covers it. */
function admitting(
  state: MeshState,
  body: BodyOf<"node-admit">,
  signer: string,
  entry: Entry,
): Authority {
  const authority = state.authorities.get(body.authority ?? "");
  if (authority?.key !== signer) {
    const why = `nobody gave its key the right "${body.authority}"`;
    throw new MeshError("entry-forbidden", `Cannot admit node: ${why}`);
  }
  if (authority.withdrawnAt !== null) {
    const why = `the right "${authority.id}" was withdrawn`;
    throw new MeshError("entry-forbidden", `Cannot admit node: ${why}`);
  }
  const { limits, uses } = authority;
  const id = peerIdOf(fromBase64Url(body.identity));
  const excess = uses >= limits.maxNodes
    ? `it admitted ${uses} of ${limits.maxNodes} nodes already`
    : limits.expiresAt !== null && entry.at > limits.expiresAt
    ? "it has expired"
    : body.user !== limits.user || body.tags.join() !== limits.tags.join()
    ? "it is for nodes of another user or with other tags"
    : body.expiresAfterMs !== limits.expiresAfterMs
    ? "it is for nodes that expire otherwise"
    : state.revoked.has(id)
    ? `node ${id} was revoked, only an admin can let it in again: tunnelmesh node admit ${id}`
    : null;
  if (excess === null) return authority;
  throw new MeshError("authority-exceeded", `Cannot admit node by "${authority.id}": ${excess}`);
}
