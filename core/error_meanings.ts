/**
 * What does each error code mean to whoever meets it? One sentence each, for the reference page.
 * @module
 */
import type { ErrorCode } from "./errors.ts";

/** Every code has a meaning; one that is missing does not compile. */
export const ERROR_MEANINGS: Readonly<Record<ErrorCode, string>> = {
  "address-pool-exhausted": "Every address of the mesh's range is leased",
  "already-running": "Another process holds the state directory or the socket",
  "challenge-invalid": "The proof of possession was too old, used before or not the coordinator's",
  "config-invalid": "A setting has a wrong value or an unknown key; the message says where",
  "context-unknown": "There is no context of that name",
  "coordinator-unreachable": "The coordinator does not answer",
  "coordinator-untrusted": "The coordinator's certificate is not the one that the token pins",
  "daemon-unreachable": "No daemon listens on the socket of the context, or not for this user",
  "forbidden": "The node may not do that, e.g. because it is no admin",
  "identity-mismatch": "The key is not the one that is known for this node",
  "internal": "A bug of TunnelMesh",
  "key-invalid": "The file holds no ed25519 key in OpenSSH format, or others may read it",
  "name-invalid": "The name is no DNS label",
  "name-reserved": "The mesh uses the name itself",
  "name-taken": "Another node has the name or alias",
  "name-unknown": "No node has the name",
  "passphrase-wrong": "The key's passphrase is wrong, or nobody could be asked for it",
  "peer-unknown": "The mesh has no such node",
  "privilege-missing": "The process lacks a right that it needs, usually that of root",
  "protocol-invalid": "The other side sent what the protocol does not allow",
  "rate-limited": "Too many requests in a short time",
  "record-invalid": "A node's record is not signed by its identity, or contradicts it",
  "request-too-large": "The request is larger than any that is needed",
  "state-invalid": "A file of TunnelMesh's own is damaged",
  "system": "The operating system refused something",
  "timeout": "No answer came in time",
  "token-expired": "The join token is too old",
  "token-invalid": "The join token is cut short, mistyped or not one of this mesh",
  "token-revoked": "The join token was revoked",
  "token-used": "The join token admits one node and has done so",
  "unsupported": "This system or this version does not have what is asked for",
  "usage": "The command line is wrong; the message says what to write",
};
