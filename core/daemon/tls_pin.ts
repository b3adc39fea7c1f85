/**
 * Is this the coordinator that the join token speaks of? TLS trust of a node.
 *
 * A token pins the certificate of the mesh's own CA. That certificate is fetched without any trust
 * and compared; from then on nothing but it is trusted. Who holds a certificate for
 * `this.tunnelmesh` that this CA signed itself is a coordinator, under whatever name or address it
 * was reached. Nodes' certificates are no such thing twice over: none carries that name, and an
 * intermediate signs them. Without a pin the system's roots decide, by host name.
 * @module
 */
import { X509Certificate } from "node:crypto";
import https from "node:https";
import type { ConnectionOptions, PeerCertificate } from "node:tls";
import { equalConstantTime } from "../bytes.ts";
import { errorMessage, MeshError } from "../errors.ts";
import { PATHS } from "../control/envelope.ts";
import { throughProxy } from "../platform/proxy.ts";

/** The name in every coordinator's certificate and in no node's. */
export const COORDINATOR_SAN = "this.tunnelmesh";

/** How long a request may take before the coordinator counts as unreachable. */
const REQUEST_MS = 10_000;
const MAX_RESPONSE_BYTES = 4 << 20;

/**
 * TLS settings of a client that trusts one CA, or the system when `caCertificate` is null.
 * @param caCertificate PEM of one certificate.
 */
export function tlsOptions(caCertificate: string | null): https.RequestOptions {
  if (caCertificate === null) return {};
  const root = new X509Certificate(caCertificate);
  const checkServerIdentity = (_host: string, certificate: PeerCertificate) =>
    isCoordinators(certificate, root)
      ? undefined
      : new Error("Cannot accept its certificate: it is not a coordinator's");
  return { ca: caCertificate, checkServerIdentity };
}

function isCoordinators(certificate: PeerCertificate, root: X509Certificate): boolean {
  const names = (certificate.subjectaltname ?? "").split(", ");
  return names.includes(`DNS:${COORDINATOR_SAN}`) &&
    new X509Certificate(certificate.raw).verify(root.publicKey);
}

/** An answer of a coordinator. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * One HTTPS request.
 *
 * @throws {MeshError} `coordinator-unreachable`, or `coordinator-untrusted` when TLS refuses it.
 */
export async function request(
  url: string,
  init: {
    readonly method: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
    readonly tls: https.RequestOptions;
  },
): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const { method, body, tls } = init;
  const signal = AbortSignal.timeout(REQUEST_MS);
  const via = await throughProxy(new URL(url), tls as ConnectionOptions, signal);
  const headers = { ...init.headers };
  // Without it node sends chunks, which the coordinator does not take.
  if (body !== undefined) headers["content-length"] = `${new TextEncoder().encode(body).length}`;
  // With an agent of its own a request ignores `createConnection`.
  const agent = via.createConnection ? {} : { agent: false };
  const options = { ...tls, ...via, ...agent, method, headers };
  const sent = https.request(url, options, (response) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    response.on("data", (chunk: Uint8Array) => {
      size += chunk.length;
      if (size > MAX_RESPONSE_BYTES) sent.destroy(new Error("its answer is too long"));
      else chunks.push(chunk);
    });
    response.on("error", (error) => reject(unreachable(url, error)));
    response.on("end", () => {
      const text = new TextDecoder().decode(joined(chunks, size));
      resolve({ status: response.statusCode ?? 0, body: text });
    });
  });
  const timer = setTimeout(() => sent.destroy(new Error("it did not answer in time")), REQUEST_MS);
  sent.on("error", (error) => reject(unreachable(url, error)));
  sent.on("close", () => clearTimeout(timer));
  sent.end(body);
  return await promise;
}

/**
 * Fetches the CA certificate (PEM) that `pin`, its SHA-256, names.
 *
 * @throws {MeshError} `coordinator-untrusted` when the coordinator has another one.
 */
export async function fetchPinnedCa(url: string, pin: Uint8Array): Promise<string> {
  // Nothing secret is sent, and what comes back is judged by the pin alone.
  const tls = { rejectUnauthorized: false };
  const { status, body } = await request(url + PATHS.caCertificate, { method: "GET", tls });
  const certificate = status === 200 ? parseCertificate(body) : null;
  if (!certificate) throw untrusted(url, "it sent no CA certificate");
  if (!await matchesPin(certificate, pin)) {
    throw untrusted(url, "its CA certificate is not the one that the token names");
  }
  // Only what was compared: the answer may hold other certificates behind the genuine one.
  return certificate.toString();
}

/** Whether a CA certificate (PEM) is the one that `pin` names. */
export async function isPinnedCa(pem: string, pin: Uint8Array): Promise<boolean> {
  const certificate = parseCertificate(pem);
  return certificate !== null && await matchesPin(certificate, pin);
}

/** What join tokens pin: the hash of the CA certificate (PEM), or zeros for the system's roots. */
export async function caPinOf(pem: string | null): Promise<Uint8Array> {
  const certificate = pem === null ? null : parseCertificate(pem);
  return certificate ? await digestOf(certificate) : new Uint8Array(32);
}

async function matchesPin(certificate: X509Certificate, pin: Uint8Array): Promise<boolean> {
  return equalConstantTime(await digestOf(certificate), pin);
}

async function digestOf(certificate: X509Certificate): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(certificate.raw)));
}

function parseCertificate(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}

function untrusted(url: string, why: string, cause?: unknown): MeshError {
  return new MeshError("coordinator-untrusted", `Cannot trust ${url}: ${why}`, {
    cause,
    hint: "Compare the address with the one the token was made for, or ask for a new token",
  });
}

function unreachable(url: string, cause: unknown): MeshError {
  if (cause instanceof MeshError) return cause;
  const why = errorMessage(cause);
  const origin = new URL(url).origin;
  if (/certificate|UnknownIssuer|self.signed|NotValidForName/i.test(why)) {
    return untrusted(origin, why, cause);
  }
  return new MeshError("coordinator-unreachable", `Cannot reach ${origin}: ${why}`, {
    cause,
    hint: "Check that it runs, and that a firewall lets TCP through to that port",
  });
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
