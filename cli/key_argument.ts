/**
 * Which key does an argument mean: a line `ssh-ed25519 ...`, a public key's file, a private one's?
 * @module
 */
import { toBase64Url } from "../core/bytes.ts";
import { MeshError } from "../core/errors.ts";
import { isIdentityKey } from "../core/identity/keys.ts";
import { parsePrivateKey, parsePublicKey } from "../core/identity/openssh.ts";
import { readIfPresent } from "./files.ts";
import type { Host } from "./host.ts";
import { absolutePath } from "./paths.ts";

/** A key as the log names it, and whether its private half is at hand. */
export interface KeyArgument {
  /** base64url. */
  readonly key: string;
  readonly publicKey: Uint8Array;
  readonly isPrivate: boolean;
}

/** @throws {MeshError} `key-invalid` */
export function readKeyArgument(host: Host, argument: string): KeyArgument {
  const isLine = /^ssh-\S+\s/.test(argument);
  const text = isLine ? argument : readIfPresent(absolutePath(host, argument));
  if (text === null) {
    throw new MeshError("key-invalid", `Cannot read the key ${argument}: there is no such file`, {
      hint: 'Name a file such as bob.pub, or quote the line: "ssh-ed25519 AAAA..."',
    });
  }
  const isPrivate = text.startsWith("-----BEGIN");
  const { publicKey } = isPrivate ? parsePrivateKey(text) : parsePublicKey(text);
  if (!isIdentityKey(publicKey)) {
    throw new MeshError("key-invalid", `Cannot use the key ${argument}: it is a weak one`, {
      hint: "Make another one with: ssh-keygen -t ed25519",
    });
  }
  return { key: toBase64Url(publicKey), publicKey, isPrivate };
}
