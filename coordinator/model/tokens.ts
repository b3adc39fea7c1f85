/**
 * Does a join token admit a node at a given time?
 * @module
 */
import { equalConstantTime, fromBase64Url } from "../../core/bytes.ts";
import type { TokenInfo } from "../../core/control/messages.ts";
import { MeshError } from "../../core/errors.ts";
import type { Token } from "./state.ts";

const ASK = "Ask an admin of the mesh for another one: tunnelmesh token create";

/** The token's state at wall time `at`; a token that is several things reports the first. */
export function tokenState(token: Token, at: number): TokenInfo["state"] {
  if (token.revokedAt !== null) return "revoked";
  if (token.expiresAt !== null && at >= token.expiresAt) return "expired";
  if (!token.reusable && token.uses > 0) return "used";
  return "valid";
}

/**
 * Returns the token when it admits a node.
 *
 * An unknown id and a wrong secret read the same, and the secret is compared in constant time;
 * only who knows the secret learns that a token was revoked, is used up or has expired.
 *
 * @param hash base64url of SHA-256 of the secret presented.
 * @throws {MeshError} "token-invalid", "token-revoked", "token-expired", "token-used"
 */
export function admit(token: Token | undefined, hash: string, at: number): Token {
  if (!token || !equalConstantTime(fromBase64Url(token.hash), fromBase64Url(hash))) {
    throw new MeshError("token-invalid", "Cannot join: the mesh does not know this token", {
      hint: ASK,
    });
  }
  switch (tokenState(token, at)) {
    case "valid":
      return token;
    case "revoked":
      throw new MeshError("token-revoked", "Cannot join: the token was revoked", { hint: ASK });
    case "expired":
      throw new MeshError("token-expired", "Cannot join: the token has expired", { hint: ASK });
    case "used":
      throw new MeshError("token-used", "Cannot join: the token was used by another node", {
        hint: ASK,
      });
  }
}

/** What an admin sees of a token. */
export function tokenInfo(token: Token, at: number): TokenInfo {
  const { hash: _, ...facts } = token;
  return { ...facts, state: tokenState(token, at) };
}
