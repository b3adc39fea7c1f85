/**
 * How is one question put to one name server, and whose reply counts?
 *
 * From a fresh port; only a message from the server asked, with the id and the question sent, is
 * its reply (RFC 5452): all else that arrives is ignored until the time is over.
 * @module
 */
import { frame, isReplyTo } from "../dns/reply.ts";
import { canonicalIp, type Ip } from "../ip.ts";
import { closeQuietly, readFrame, writeAll } from "./dns_stream.ts";

/** A name server. */
export interface DnsUpstream {
  readonly ip: Ip;
  readonly port: number;
}

/**
 * Takes charge of a socket, to close it when its time is over; the returned function closes it at
 * once. A closed socket ends the exchange.
 */
export type SocketGuard = (socket: { close(): void }) => () => void;

/** What to ask. */
export interface DnsQuestion {
  /** The whole query, its id chosen at random. */
  readonly message: Uint8Array;
  /** Offset after its question. */
  readonly questionEnd: number;
}

/** A random message id. */
export function randomId(): number {
  return crypto.getRandomValues(new Uint16Array(1))[0]!;
}

/** A guard that closes sockets after `timeoutMs`. */
export function closeAfter(timeoutMs: number): SocketGuard {
  return (socket) => {
    const timer = setTimeout(() => closeQuietly(socket), timeoutMs);
    return () => {
      clearTimeout(timer);
      closeQuietly(socket);
    };
  };
}

/**
 * Asks over UDP; null when no reply came, whatever the reason.
 * @param from The address of this machine to ask from; any when not given.
 */
export async function exchangeUdp(
  server: DnsUpstream,
  question: DnsQuestion,
  guard: SocketGuard,
  from?: Ip,
): Promise<Uint8Array | null> {
  const hostname = from ?? (server.ip.includes(":") ? "::" : "0.0.0.0");
  let end = () => {};
  try {
    const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
    end = guard(socket);
    const to: Deno.NetAddr = { transport: "udp", hostname: server.ip, port: server.port };
    await socket.send(question.message, to);
    for (;;) {
      const [reply, sender] = await socket.receive();
      const { hostname, port } = sender as Deno.NetAddr;
      const isFromServer = port === server.port && canonicalIp(hostname) === server.ip;
      if (isFromServer && isReplyTo(question.message, question.questionEnd, reply)) return reply;
    }
  } catch {
    // Closed by the guard, or no route to the server.
    return null;
  } finally {
    end();
  }
}

/** Asks over TCP; null when no reply came, whatever the reason. */
export async function exchangeTcp(
  server: DnsUpstream,
  question: DnsQuestion,
  guard: SocketGuard,
): Promise<Uint8Array | null> {
  const abort = new AbortController();
  const stopConnecting = guard({ close: () => abort.abort() });
  let end = () => {};
  try {
    const { ip: hostname, port } = server;
    const connection = await Deno.connect({ hostname, port, signal: abort.signal });
    end = guard(connection);
    await writeAll(connection, frame(question.message));
    const reply = await readFrame(connection);
    const isReply = reply !== null && isReplyTo(question.message, question.questionEnd, reply);
    return isReply ? reply : null;
  } catch {
    return null;
  } finally {
    end();
    stopConnecting();
  }
}
