/**
 * The coordinator's listening socket: TLS, limits on what strangers may hold open, and certificates
 * that change while it runs.
 *
 * A connection has {@link HANDSHAKE_MS} to finish TLS and {@link REQUEST_MS} for a whole request, so
 * nobody keeps one by sending a byte now and then. WebSockets are out of that once upgraded; the
 * control hub has its own patience.
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import { errorMessage, MeshError } from "../core/errors.ts";
import type { Log } from "./log.ts";
import type { PemPair } from "./tls.ts";

const HANDSHAKE_MS = 10_000;
const REQUEST_MS = 15_000;
const KEEP_ALIVE_MS = 5_000;
/** How often the limits above are looked at. */
const CHECK_MS = 2_000;
const MAX_HEADER_BYTES = 16_384;
/** Sockets at once; beyond it the kernel's queue waits. */
const MAX_CONNECTIONS = 10_000;
/** How often a changed or ageing certificate is looked for. */
const CERTIFICATE_CHECK_MS = 3_600_000;

export interface HttpsServerOptions {
  readonly listen: { readonly hostname: string; readonly port: number };
  /** Gives the certificate to use at present; asked again every hour. */
  readonly certificate: () => Promise<PemPair>;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => unknown;
  readonly log: Log;
}

/** A server that listens. */
export interface HttpsServer {
  readonly server: https.Server;
  readonly port: number;
  close(): Promise<void>;
}

/** @throws {MeshError} `already-running` when the port is taken, `system`, `config-invalid` */
export async function openHttpsServer(options: HttpsServerOptions): Promise<HttpsServer> {
  const { certificate, handle, log } = options;
  let pem = await certificate();
  const server = createServer(pem, handle);
  // A stranger's broken request; it also comes when one of the limits above is reached.
  server.on("clientError", (_error, socket) => void socket.destroy());
  server.on("tlsClientError", (_error, socket) => void socket.destroy());
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, options.listen);
  const renewal = setInterval(async () => {
    try {
      const present = await certificate();
      if (present.certificate === pem.certificate) return;
      server.setSecureContext({ cert: present.certificate, key: present.key });
      pem = present;
      log("info", "Certificate changed");
    } catch (error) {
      log("error", "Cannot renew the certificate", { why: errorMessage(error) });
    }
  }, CERTIFICATE_CHECK_MS);
  return {
    server,
    port: (server.address() as { port: number }).port,
    close: async () => {
      clearInterval(renewal);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function createServer(pem: PemPair, handle: HttpsServerOptions["handle"]): https.Server {
  try {
    return https.createServer({
      cert: pem.certificate,
      key: pem.key,
      handshakeTimeout: HANDSHAKE_MS,
      requestTimeout: REQUEST_MS,
      headersTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: CHECK_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    }, handle);
  } catch (cause) {
    const message = `Cannot use the certificate: ${errorMessage(cause)}`;
    throw new MeshError("config-invalid", message, {
      cause,
      hint: "Give a PEM certificate chain and the private key that belongs to it",
    });
  }
}

async function listen(
  server: https.Server,
  { hostname, port }: HttpsServerOptions["listen"],
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onError = (cause: Error) => {
    const isTaken = /EADDRINUSE|in use/i.test(errorMessage(cause));
    reject(
      new MeshError(
        isTaken ? "already-running" : "system",
        `Cannot listen on ${hostname}:${port}: ${isTaken ? "it is in use" : errorMessage(cause)}`,
        { cause, hint: "Choose another address with --listen HOST:PORT" },
      ),
    );
  };
  server.once("error", onError);
  server.listen(port, hostname, () => {
    server.off("error", onError);
    resolve();
  });
  await promise;
}
