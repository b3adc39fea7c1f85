/**
 * Tells nodes how they are seen from outside (STUN, RFC 8489), on two ports so that they can find
 * out what their NAT does (RFC 5780): a request may ask to be answered from the other port.
 *
 * No state, no secrets, and no answer longer than a few dozen bytes more than its request: of no
 * use to who would flood somebody else.
 * @module
 */
import { errorMessage } from "../core/errors.ts";
import { canonicalIp, formatEndpoint } from "../core/ip.ts";
import { decodeMessage, encodeSuccess, encodeUnknown } from "../core/stun/message.ts";
import type { Log } from "./log.ts";
import { RateLimiter, sourceKey } from "./model/rate_limiter.ts";

/** Requests of one source: discovery takes ten, and a carrier's NAT hides many nodes. */
const REQUEST_LIMIT = { burst: 200, perSecond: 50, capacity: 8192 };

/** Running responders. */
export interface StunServer {
  /** Those that could be opened, in the order of the wish. */
  readonly ports: readonly number[];
  close(): Promise<void>;
}

export interface StunServerOptions {
  /** Address to listen on, e.g. `::` for all. */
  readonly hostname: string;
  readonly ports: readonly number[];
  /** Monotonic milliseconds. */
  readonly clock: () => number;
  readonly log: Log;
}

/** Listens on every port that is free; the coordinator does without the others. */
export function startStunServer({ hostname, ports, clock, log }: StunServerOptions): StunServer {
  const limiter = new RateLimiter(REQUEST_LIMIT);
  const sockets: Deno.DatagramConn[] = [];
  for (const port of ports) {
    try {
      sockets.push(Deno.listenDatagram({ transport: "udp", hostname, port }));
    } catch (error) {
      log("warn", "Cannot answer STUN", { port, why: errorMessage(error) });
    }
  }
  const serving = sockets.map((socket, i) =>
    serve(socket, (bytes, from) => {
      if (!limiter.take(sourceKey(from.hostname), clock())) return;
      const answer = answerTo(bytes, from, sockets.length > 1);
      if (!answer) return;
      const answering = answer.fromOther ? sockets[(i + 1) % sockets.length]! : socket;
      answering.send(answer.bytes, from).catch(() => {});
    })
  );
  return {
    ports: sockets.map((socket) => (socket.addr as Deno.NetAddr).port),
    close: async () => {
      for (const socket of sockets) socket.close();
      await Promise.all(serving);
    },
  };
}

async function serve(
  socket: Deno.DatagramConn,
  handle: (bytes: Uint8Array, from: Deno.NetAddr) => void,
): Promise<void> {
  for (;;) {
    try {
      const [bytes, from] = await socket.receive();
      handle(bytes, from as Deno.NetAddr);
    } catch (error) {
      // An earlier answer was refused; only closing ends this.
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
        return;
      }
    }
  }
}

/** What to answer, and whether from the other port; null for what is no request of ours. */
export function answerTo(
  bytes: Uint8Array,
  from: { readonly hostname: string; readonly port: number },
  hasOther: boolean,
): { readonly bytes: Uint8Array; readonly fromOther: boolean } | null {
  const request = decodeMessage(bytes);
  if (request?.class !== "request" || !request.isBinding) return null;
  const { transactionId, changeIp, changePort, unknown } = request;
  if (unknown.length > 0) {
    return { bytes: encodeUnknown(transactionId, unknown), fromOther: false };
  }
  // What cannot be done is not answered: the silence would otherwise pass for a filter's absence.
  if (changeIp || (changePort && !hasOther)) return null;
  const ip = canonicalIp(from.hostname.replace(/^::ffff:(?=\d+\.)/, ""));
  if (ip === null) return null;
  const mapped = formatEndpoint(ip, from.port);
  return { bytes: encodeSuccess({ transactionId, mapped }), fromOther: changePort };
}
