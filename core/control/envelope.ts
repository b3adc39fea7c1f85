/**
 * Which bytes does an identity sign when it talks to a coordinator?
 *
 * Each kind of request has its own prefix, and calls name their method and path, so a signature
 * made for one purpose proves nothing for another. Freshness comes from the challenge in the body
 * (HTTP) or from the nonce (WebSocket).
 * @module
 */
import { toBase64Url, utf8 } from "../bytes.ts";
import { type Identity, sign } from "../identity/keys.ts";
import type { Envelope, RegisterBody } from "./messages.ts";

/** The API's paths, as client and server write them. */
export const PATHS = {
  health: "/health",
  caCertificate: "/ca.crt",
  challenge: "/api/v1/challenge",
  register: "/api/v1/register",
  nodes: "/api/v1/nodes",
  log: "/api/v1/log",
  logRead: "/api/v1/log/read",
  control: "/api/v1/control",
  relay: "/api/v1/relay",
} as const;

/** HTTP methods of signed calls. */
export type CallMethod = "POST" | "DELETE";

/** What the signature of a registration covers. */
export function registerBytes(body: string): Uint8Array {
  return utf8(`tunnelmesh-register-v1\0${body}`);
}

/** What the signature of any other signed call covers; `path` has no query. */
export function callBytes(method: CallMethod, path: string, body: string): Uint8Array {
  return utf8(`tunnelmesh-call-v1\0${method} ${path}\0${body}`);
}

/** What a join token's key signs to show that its secret is known. */
export function tokenProofBytes(challenge: string, identity: string): Uint8Array {
  return utf8(`tunnelmesh-token-v1\0${challenge}\0${identity}`);
}

/** What the signature in a hello covers. */
export function controlBytes(nonce: string): Uint8Array {
  return utf8(`tunnelmesh-control-v1\0${nonce}`);
}

/** What the signature in a relay's hello covers. */
export function relayBytes(nonce: string): Uint8Array {
  return utf8(`tunnelmesh-relay-v1\0${nonce}`);
}

/** Signs a registration. */
export function signRegistration(identity: Identity, body: RegisterBody): Envelope {
  const text = JSON.stringify(body);
  return { body: text, signature: toBase64Url(sign(identity, registerBytes(text))) };
}

/** Signs a call; `body` must carry `challenge` and `identity`. */
export function signCall(
  identity: Identity,
  call: { readonly method: CallMethod; readonly path: string; readonly body: object },
): Envelope {
  const text = JSON.stringify(call.body);
  const signature = sign(identity, callBytes(call.method, call.path, text));
  return { body: text, signature: toBase64Url(signature) };
}
