/**
 * UDP sockets beside the node's own, each on a random port of all addresses: through a NAT that
 * gives every socket another port, many of them make it likely that one meets the peer's.
 * @module
 */
import { type Endpoint, parseEndpoint, parseIp } from "../../ip.ts";
import { MeshError } from "../../errors.ts";
import type { Readiness } from "./readiness.ts";
import { TrainReceiver } from "./train_receiver.ts";
import { openUdp, type UdpSockets } from "./udp.ts";

/** System calls per socket before others and the event loop have their turn. */
const MAX_ROUNDS = 4;

/** The sockets of one node; dispose of them with {@link shutdown}. */
export class PunchSockets {
  readonly #onReceive: (socket: number, from: Endpoint, bytes: Uint8Array) => void;
  readonly #readiness: Readiness;
  readonly #mark: number;
  readonly #receiver = new TrainReceiver();
  readonly #socketsByNumber = new Map<number, UdpSockets>();
  #lastNumber = 0;

  /**
   * @param onReceive Told of each datagram; its bytes are valid during the call.
   * @param mark Of what is sent, as of the node's own sockets.
   */
  constructor(
    onReceive: (socket: number, from: Endpoint, bytes: Uint8Array) => void,
    readiness: Readiness,
    mark = 0,
  ) {
    this.#mark = mark;
    this.#onReceive = onReceive;
    this.#readiness = readiness;
  }

  /** Opens so many, or as many as the system has left; returns their numbers. */
  open(count: number): number[] {
    const opened: number[] = [];
    while (opened.length < count) {
      const socket = openAny(this.#mark);
      if (socket === null) break;
      const number = ++this.#lastNumber;
      this.#socketsByNumber.set(number, socket);
      this.#readiness.add(socket.fds[0]!, () => this.#receive(number, socket.fds[0]!));
      opened.push(number);
    }
    return opened;
  }

  /** Sends one datagram; false when it was refused. */
  send(socket: number, to: Endpoint, bytes: Uint8Array): boolean {
    const target = parseEndpoint(to);
    const sockets = this.#socketsByNumber.get(socket);
    return !!target && !!sockets && sockets.send(bytes, mapped(target.ip), target.port);
  }

  /** Closes one; nothing is received from it after that. */
  close(socket: number): void {
    const sockets = this.#socketsByNumber.get(socket);
    if (!sockets) return;
    this.#socketsByNumber.delete(socket);
    this.#readiness.remove(sockets.fds[0]!);
    sockets.close();
  }

  /** Closes all. */
  shutdown(): Promise<void> {
    for (const socket of [...this.#socketsByNumber.keys()]) this.close(socket);
    return Promise.resolve();
  }

  #receive(socket: number, fd: number): void {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const count = this.#receiver.receive(fd);
      for (let i = 0; i < count; i++) {
        const train = this.#receiver.train(i);
        if (train) this.#onReceive(socket, this.#receiver.source(i), train.bytes);
        // The receiver of a datagram may close what it came from.
        if (!this.#socketsByNumber.has(socket)) return;
      }
      if (count === 0) return;
    }
  }
}

/** A socket on a port of the kernel's choice, or null when there are no more descriptors. */
function openAny(mark: number): UdpSockets | null {
  try {
    return openUdp(0, false, 1, mark);
  } catch (error) {
    if (error instanceof MeshError) return null;
    throw error;
  }
}

/** Sixteen bytes of an address, IPv4 mapped. */
function mapped(ip: string): Uint8Array {
  const bytes = parseIp(ip)!;
  return bytes.length === 16 ? bytes : Uint8Array.of(...Array(10).fill(0), 0xff, 0xff, ...bytes);
}
