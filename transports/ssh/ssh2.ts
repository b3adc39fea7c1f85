/**
 * What is used of the package ssh2, and how it is loaded: late, since it costs 20 MB of memory.
 *
 * Its own type package would bring old types of Node with it, so what is used is written down here.
 * @module
 */
import type { Duplex } from "node:stream";

/** Algorithms by SSH's names (RFC 4250 section 4.11). */
export interface Algorithms {
  readonly kex: readonly string[];
  readonly cipher: readonly string[];
  readonly hmac: readonly string[];
  readonly serverHostKey: readonly string[];
  readonly compress: readonly string[];
}

export interface ClientConfig {
  /** A connected stream. */
  readonly sock: Duplex;
  readonly username: string;
  readonly authHandler: readonly {
    readonly type: "publickey";
    readonly username: string;
    readonly key: string;
  }[];
  readonly algorithms: Algorithms;
  readonly ident: string;
  /** Gets the key in SSH's encoding (RFC 4253 section 6.6). */
  readonly hostVerifier: (key: Uint8Array) => boolean;
  /** 0: wait for ever. */
  readonly readyTimeout: number;
  /** Whether OpenSSH's extensions are used with OpenSSH alone. */
  readonly strictVendor: boolean;
}

/** An error with the layer that it comes from, e.g. "client-authentication". */
export interface SshError extends Error {
  readonly level?: string;
}

export interface SshClient {
  connect(config: ClientConfig): unknown;
  openssh_forwardOutStreamLocal(
    path: string,
    callback: (error: Error | undefined, channel: Duplex) => void,
  ): unknown;
  on(event: "ready" | "close", listener: () => void): this;
  on(event: "error", listener: (error: SshError) => void): this;
}

export interface ServerConfig {
  readonly hostKeys: readonly string[];
  readonly algorithms: Algorithms;
  readonly ident: string;
}

export interface SshServer {
  /** Treats a stream as a connection that came in. */
  injectSocket(socket: Duplex): void;
}

/** A request of a client to be let in. */
export interface AuthContext {
  readonly username: string;
  readonly method: string;
  /** With method "publickey". */
  readonly key?: { readonly algo: string; readonly data: Uint8Array };
  /** Absent when the client only asks whether the key would do. */
  readonly signature?: Uint8Array;
  /** What was signed. */
  readonly blob?: Uint8Array;
  accept(): void;
  reject(methodsLeft?: readonly string[]): void;
}

/** A client as the server sees it. Whatever has no listener is refused by ssh2. */
export interface IncomingClient {
  rekey(): void;
  on(event: "authentication", listener: (context: AuthContext) => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  on(
    event: "openssh.streamlocal",
    listener: (
      accept: () => Duplex,
      reject: () => void,
      info: { readonly socketPath: string },
    ) => void,
  ): this;
}

export interface Ssh2 {
  readonly Client: new () => SshClient;
  readonly Server: new (
    config: ServerConfig,
    onConnection: (client: IncomingClient) => void,
  ) => SshServer;
}

/**
 * What both sides offer: only what is safe, the fastest first. Not chacha20-poly1305: ssh2 makes two
 * ciphers for each of its packets and ends neither, and under Deno their memory is never free again.
 */
export const ALGORITHMS: Algorithms = {
  kex: ["curve25519-sha256", "curve25519-sha256@libssh.org"],
  cipher: ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
  // Not used with these ciphers, which authenticate by themselves, but it must be agreed upon.
  hmac: ["hmac-sha2-256-etm@openssh.com"],
  serverHostKey: ["ssh-ed25519"],
  // What passes is ciphertext.
  compress: ["none"],
};

/** Sent as the software version (RFC 4253 section 4.2). */
export const IDENT = "TunnelMesh";

/** Loads the package; the second time costs nothing. */
export async function loadSsh2(): Promise<Ssh2> {
  return (await import("ssh2") as unknown as { default: Ssh2 }).default;
}
