/**
 * How is a connection to a peer's SSH server opened? One attempt, from TCP to the open channel.
 * @module
 */
import { connect as connectSocket, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { equalConstantTime } from "../../core/bytes.ts";
import { errorMessage } from "../../core/errors.ts";
import type { Identity } from "../../core/identity/keys.ts";
import { type Endpoint, parseEndpoint } from "../../core/ip.ts";
import type { Carrier } from "./connection.ts";
import { privateKeyPem, publicKeyBlob, SSH_USER } from "./keys.ts";
import { CHANNEL_PATH } from "./server.ts";
import { ALGORITHMS, IDENT, loadSsh2, type Ssh2 } from "./ssh2.ts";

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was reset",
  EHOSTUNREACH: "there is no route to that address",
  ENETUNREACH: "there is no route to that address",
};

/** Opens a byte stream, e.g. through a proxy. It may ignore `signal`. */
export type Connect = (host: string, port: number, signal: AbortSignal) => Promise<Duplex>;

export interface AttemptOptions {
  readonly identity: Identity;
  /** The only host key that will do: 32 bytes. */
  readonly peerKey: Uint8Array;
  readonly connect: Connect;
}

/** Why an attempt failed; the message is a sentence part for users. */
export class AttemptError extends Error {
  override readonly name = "AttemptError";
}

/**
 * Connects to the SSH server at `endpoint` and opens the channel. After an abort nothing is left.
 * @throws {AttemptError}
 */
export async function openCarrier(
  endpoint: Endpoint,
  options: AttemptOptions,
  signal: AbortSignal,
): Promise<Carrier> {
  const target = parseEndpoint(endpoint);
  if (!target) throw new AttemptError(`"${endpoint}" is no address and port`);
  const { promise: aborted, reject: abort } = Promise.withResolvers<never>();
  aborted.catch(() => {});
  const onAbort = () => abort(signal.reason);
  signal.addEventListener("abort", onAbort);
  let socket: Duplex | undefined;
  try {
    const ssh2 = await loadSsh2();
    signal.throwIfAborted();
    const connecting = options.connect(target.ip, target.port, signal);
    // A stream that comes after the abort has nobody to close it.
    connecting.then((late) => signal.aborted && late.destroy(), () => {});
    socket = await Promise.race([connecting, aborted]);
    const channel = await Promise.race([handshake(ssh2, socket, options), aborted]);
    return { socket, channel, rekey: null };
  } catch (error) {
    socket?.destroy();
    throw new AttemptError(`${endpoint}: ${reasonOf(error)}`, { cause: error });
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** The usual {@link Connect}: TCP, straight. */
export function connectTcp(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connectSocket({ host, port, noDelay: true });
  const onAbort = () => void socket.destroy();
  signal.addEventListener("abort", onAbort);
  socket.once("error", reject);
  socket.once("close", () => reject(new Error("the connection was closed")));
  socket.once("connect", () => {
    signal.removeEventListener("abort", onAbort);
    socket.setNoDelay(true);
    resolve(socket);
  });
  return promise;
}

/** An error as a sentence part; Node's own texts are made for programmers. */
function reasonOf(error: unknown): string {
  const { code } = error as { code?: string };
  return code && REASONS[code] || errorMessage(error);
}

function handshake(ssh2: Ssh2, socket: Duplex, options: AttemptOptions): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const expected = publicKeyBlob(options.peerKey);
  const client = new ssh2.Client();
  client.on("error", (error) => {
    const isRefused = error.level === "client-authentication";
    reject(isRefused ? new Error("the peer refused this node's key") : error);
    socket.destroy(error);
  });
  client.on("close", () => reject(new Error("the server closed the connection")));
  client.on("ready", () => {
    client.openssh_forwardOutStreamLocal(CHANNEL_PATH, (error, channel) => {
      if (error) reject(error);
      else resolve(channel);
    });
  });
  client.connect({
    sock: socket,
    username: SSH_USER,
    authHandler: [{
      type: "publickey",
      username: SSH_USER,
      key: privateKeyPem(options.identity),
    }],
    algorithms: ALGORITHMS,
    ident: IDENT,
    hostVerifier: (key) => {
      const isRight = equalConstantTime(key, expected);
      if (!isRight) reject(new Error("the host key is not the peer's"));
      return isRight;
    },
    readyTimeout: 0,
    strictVendor: false,
  });
  return promise;
}
