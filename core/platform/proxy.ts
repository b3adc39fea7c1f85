/**
 * A TCP connection through an HTTP proxy: the CONNECT method (RFC 9110 section 9.3.6).
 *
 * What is carried through it is TLS to the target, so the proxy has to be trusted with nothing but
 * the target's name. Its credentials appear in no message.
 * @module
 */
import type { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import { concatBytes, toBase64, utf8 } from "../bytes.ts";
import { errorMessage, MeshError } from "../errors.ts";

/** Most bytes of a proxy's answer before the tunnel begins. */
export const MAX_ANSWER_BYTES = 16_384;
/** From the first packet to the end of the proxy's answer. */
export const PROXY_TIMEOUT_MS = 10_000;

const DEFAULT_PORT = 80;

/** An HTTP proxy. */
export interface Proxy {
  /** A name or address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** The value of `Proxy-Authorization`, or null. Secret: never log it. */
  readonly authorization: string | null;
}

/** Where the proxy is to connect to. */
export interface Target {
  /** A name or address, IPv6 in brackets as in a URL. */
  readonly hostname: string;
  readonly port: number;
}

/** What a proxy said, or null while its answer is incomplete. */
type Answer = { readonly status: number; readonly length: number } | null;

/**
 * Reads `http://[user:password@]host[:port]`.
 * @throws {MeshError} "config-invalid"
 */
export function parseProxy(text: string): Proxy {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isBare = url?.pathname === "/" && url.search === "" && url.hash === "";
  if (!url || url.protocol !== "http:" || !isBare) {
    // The text is not repeated, as it may hold a password.
    throw new MeshError("config-invalid", "Cannot use the proxy: its URL is not http://host:port", {
      hint: "Write it as http://proxy.example.com:3128, or http://user:password@...",
    });
  }
  const credentials = `${decoded(url.username)}:${decoded(url.password)}`;
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port) || DEFAULT_PORT,
    authorization: credentials === ":" ? null : `Basic ${toBase64(utf8(credentials))}`,
  };
}

/** Undoes percent-encoding where there is any. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Opens a connection to `target` through `proxy`; TLS can be started on it at once.
 *
 * @throws {MeshError} "coordinator-unreachable" for whatever goes wrong, the abortion included.
 */
export function connectThrough(
  proxy: Proxy,
  target: Target,
  signal: AbortSignal,
): Promise<net.Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<net.Socket>();
  const socket = net.connect({ host: proxy.host, port: proxy.port, noDelay: true });
  // Nothing of a failed attempt is left when its promise rejects.
  const fail = (why: string) =>
    settle(() => {
      const finish = () => reject(unreachable(proxy, target, why));
      if (socket.closed) return finish();
      socket.on("error", () => {}).once("close", finish).destroy();
    });
  const onAbort = () => fail("it was given up");
  const timer = setTimeout(() => fail("the proxy did not answer in time"), PROXY_TIMEOUT_MS);
  let received: Uint8Array = new Uint8Array();
  const onData = (chunk: Buffer) => {
    received = concatBytes(received, chunk);
    const answer = parseAnswer(received);
    if (answer === "malformed") fail("the proxy's answer is not HTTP");
    else if (answer === "too-long") fail("the proxy's answer is too long");
    else if (answer) judge(answer);
  };
  const judge = ({ status, length }: NonNullable<Answer>) => {
    if (status === 407) return fail("the proxy wants other credentials (407)");
    if (status < 200 || status > 299) return fail(`the proxy answered ${status}`);
    // The target speaks second, so what is here already cannot be from it.
    if (length < received.length) return fail("the proxy sent more than its answer");
    settle(() => resolve(socket));
  };
  const onError = (error: Error) => fail(errorMessage(error));
  const onClose = () => fail("the proxy closed the connection");
  const settle = (finish: () => void) => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    socket.off("data", onData).off("error", onError).off("close", onClose);
    socket.pause();
    finish();
  };
  socket.on("data", onData).on("error", onError).on("close", onClose);
  socket.once("connect", () => socket.write(requestText(proxy, target)));
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  return promise;
}

function requestText({ authorization }: Proxy, { hostname, port }: Target): string {
  const lines = [`CONNECT ${hostname}:${port} HTTP/1.1`, `Host: ${hostname}:${port}`];
  if (authorization !== null) lines.push(`Proxy-Authorization: ${authorization}`);
  return lines.join("\r\n") + "\r\n\r\n";
}

/** Reads the status line and finds the end of the head (RFC 9112 section 4). */
export function parseAnswer(bytes: Uint8Array): Answer | "malformed" | "too-long" {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, MAX_ANSWER_BYTES));
  const start = "HTTP/1.";
  if (!text.startsWith(start.slice(0, text.length))) return "malformed";
  const length = text.indexOf("\r\n\r\n") + 4;
  if (length < 4) return bytes.length >= MAX_ANSWER_BYTES ? "too-long" : null;
  const status = /^HTTP\/1\.[01] ([1-5]\d\d)[ \r]/.exec(text)?.[1];
  return status === undefined ? "malformed" : { status: Number(status), length };
}

function unreachable({ host, port }: Proxy, target: Target, why: string): MeshError {
  const via = `${target.hostname}:${target.port} through the proxy ${host}:${port}`;
  return new MeshError("coordinator-unreachable", `Cannot reach ${via}: ${why}`, {
    hint: "Check the proxy's address and credentials, and that it allows CONNECT to that port",
  });
}

/** Where coordinators are reached through; a process has one, as it has one environment. */
let inUse: Proxy | null = null;

/**
 * Connections to coordinators go through this proxy from here on, or directly when it is null.
 * @throws {MeshError} "config-invalid"
 */
export function useProxy(text: string | null): void {
  inUse = text === null ? null : parseProxy(text);
}

/** The proxy for connections to `url`, or null: this machine itself needs none. */
export function proxyFor(url: URL): Proxy | null {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isLocal = host === "localhost" || host === "::1" || host.startsWith("127.");
  return isLocal ? null : inUse;
}

/** What `node:https` and WebSockets need to reach `url`; nothing where there is no proxy. */
export async function throughProxy(
  url: URL,
  options: tls.ConnectionOptions,
  signal: AbortSignal,
): Promise<{ createConnection?: () => tls.TLSSocket }> {
  const proxy = proxyFor(url);
  if (!proxy) return {};
  const target = { hostname: url.hostname, port: Number(url.port) || 443 };
  const socket = await connectThrough(proxy, target, signal);
  return { createConnection: () => startTls(socket, url, options) };
}

/** Starts TLS with the host of `url` on a connection to it. */
export function startTls(
  socket: net.Socket,
  url: URL,
  options: tls.ConnectionOptions,
): tls.TLSSocket {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  // An address is no server name (RFC 6066 section 3).
  const name = net.isIP(host) === 0 ? { servername: host } : {};
  return tls.connect({ ...options, ...name, host, socket });
}
