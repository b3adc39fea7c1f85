/**
 * Tells nodes how they are seen from outside (STUN, RFC 8489), on two ports so that they can find
 * out what their NAT does (RFC 5780): a request may ask to be answered from the other port and,
 * where the machine has a second address, from there.
 *
 * No state, no secrets, and no answer longer than a few dozen bytes more than its request: of no
 * use to who would flood somebody else.
 * @module
 */
import { errorMessage } from "../core/errors.ts";
import { canonicalIp, type Endpoint, formatEndpoint, type Ip } from "../core/ip.ts";
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
  /** A second address of this machine that the internet reaches; null for none. */
  readonly otherAddress: Ip | null;
  readonly ports: readonly number[];
  /** Monotonic milliseconds. */
  readonly clock: () => number;
  readonly log: Log;
}

/** A responder, and those that answer for it. */
interface Responder {
  readonly socket: Deno.DatagramConn;
  readonly address: Deno.NetAddr;
}

/** Listens on every port that is free; the coordinator does without the others. */
export function startStunServer(options: StunServerOptions): StunServer {
  const { hostname, otherAddress, ports, clock, log } = options;
  const limiter = new RateLimiter(REQUEST_LIMIT);
  // Both may have a port where the first address is all of them; without, one that is taken shows.
  const open = { reuseAddress: otherAddress !== null, log };
  const first = openAll(hostname, ports, open);
  const taken = first.map(({ address }) => address.port);
  const second = otherAddress === null ? [] : openAll(otherAddress, taken, open);
  const serveAll = (own: readonly Responder[], others: readonly Responder[]) =>
    own.map(({ socket }, i) => {
      const atPort = own[1 - i] ?? null;
      // Both differ: RFC 5780 section 6.
      const atAddress = others[1 - i] ?? null;
      return serve(socket, (bytes, from) => {
        if (!limiter.take(sourceKey(from.hostname), clock())) return;
        const other = atAddress && formatEndpoint(otherAddress!, atAddress.address.port);
        const answer = answerTo(bytes, from, { hasOtherPort: atPort !== null, other });
        if (!answer) return;
        const by = { same: socket, port: atPort?.socket, address: atAddress?.socket }[answer.by];
        by?.send(answer.bytes, from).catch(() => {});
      });
    });
  const serving = [...serveAll(first, second), ...serveAll(second, [])];
  return {
    ports: first.map(({ address }) => address.port),
    close: async () => {
      for (const { socket } of [...first, ...second]) socket.close();
      await Promise.all(serving);
    },
  };
}

function openAll(
  hostname: string,
  ports: readonly number[],
  { reuseAddress, log }: { readonly reuseAddress: boolean; readonly log: Log },
): Responder[] {
  return ports.flatMap((port) => {
    try {
      const socket = Deno.listenDatagram({ transport: "udp", hostname, port, reuseAddress });
      return [{ socket, address: socket.addr as Deno.NetAddr }];
    } catch (error) {
      log("warn", "Cannot answer STUN", { address: hostname, port, why: errorMessage(error) });
      return [];
    }
  });
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

/** An answer, and from where: as asked, the other port, or the other address and port. */
export interface StunAnswer {
  readonly bytes: Uint8Array;
  readonly by: "same" | "port" | "address";
}

/**
 * What to answer; null for what is no request of ours.
 * @param others What may answer instead: another port, and another address with another port.
 */
export function answerTo(
  bytes: Uint8Array,
  from: { readonly hostname: string; readonly port: number },
  others: { readonly hasOtherPort: boolean; readonly other: Endpoint | null },
): StunAnswer | null {
  const request = decodeMessage(bytes);
  if (request?.class !== "request" || !request.isBinding) return null;
  const { transactionId, changeIp, changePort, unknown } = request;
  if (unknown.length > 0) return { bytes: encodeUnknown(transactionId, unknown), by: "same" };
  const by = changeIp ? "address" : changePort ? "port" : "same";
  // What cannot be done is not answered: the silence would otherwise pass for a filter's absence.
  if (by === "address" && (others.other === null || !changePort)) return null;
  if (by === "port" && !others.hasOtherPort) return null;
  const ip = canonicalIp(from.hostname.replace(/^::ffff:(?=\d+\.)/, ""));
  if (ip === null) return null;
  const mapped = formatEndpoint(ip, from.port);
  const other = by === "same" && others.other ? { other: others.other } : {};
  return { bytes: encodeSuccess({ transactionId, mapped, ...other }), by };
}
