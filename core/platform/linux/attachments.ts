/**
 * How do links that are not UDP reach the packet workers? Each is a socket on loopback, connected to
 * the node's own: to the workers it is one more endpoint, so the packet path needs no other branch.
 *
 * Whole trains cross in both directions (`UDP_SEGMENT`, `UDP_GRO`), about 45 full datagrams per
 * system call. Being connected, a socket takes datagrams from the node alone. Loopback tells a sender
 * nothing of a full receive buffer: what the node is too slow for is lost, as on any network.
 * @module
 */
import { type Endpoint, formatEndpoint } from "../../ip.ts";
import type { Train } from "../../link.ts";
import { AF_INET, check, libc, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from "./libc.ts";
import { libcControl } from "./libc_control.ts";
import { SOL_UDP, UDP_GRO } from "./messages.ts";
import type { Readiness } from "./readiness.ts";
import { TrainReceiver } from "./train_receiver.ts";
import { TrainSender } from "./train_sender.ts";
import { setOption, writeSockaddr } from "./udp.ts";

const SOL_SOCKET = 1, SO_SNDBUF = 7, SO_RCVBUF = 8, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33;
/** Bytes; about a hundred trains, of which the kernel counts the memory and not the length. */
const SOCKET_BUFFER = 4 << 20;
/** System calls per attachment before others and the event loop have their turn. */
const MAX_ROUNDS = 4;
const LOOPBACK = "127.0.0.1";
const LOOPBACK_BYTES = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1);
const SOCKADDR_IN = 16;

/** An attachment as the data plane sees it. */
export interface Attachment {
  readonly id: number;
  /** On loopback; send to it to send through the link. */
  readonly endpoint: Endpoint;
}

/** Loopback endpoints of one node; dispose of them with {@link shutdown}. */
export class Attachments {
  readonly #nodePort: number;
  readonly #onReceive: (attachment: number, train: Train) => void;
  readonly #readiness: Readiness;
  readonly #receiver = new TrainReceiver();
  readonly #sender = new TrainSender();
  readonly #fdById = new Map<number, number>();
  #lastId = 0;

  /**
   * @param nodePort The node's UDP port on this machine.
   * @param onReceive Told what workers sent to an attachment; a train is valid during the call.
   */
  constructor(
    nodePort: number,
    onReceive: (attachment: number, train: Train) => void,
    readiness: Readiness,
  ) {
    this.#nodePort = nodePort;
    this.#onReceive = onReceive;
    this.#readiness = readiness;
  }

  /** Opens one. */
  open(): Attachment {
    const { fd, port } = openConnected(this.#nodePort);
    const id = ++this.#lastId;
    this.#fdById.set(id, fd);
    this.#readiness.add(fd, () => this.#receive(id, fd));
    return { id, endpoint: formatEndpoint(LOOPBACK, port) };
  }

  /** Hands what came from a link to the node; false when the kernel refused it. */
  send(id: number, train: Train): boolean {
    const fd = this.#fdById.get(id);
    return fd !== undefined && this.#sender.send(fd, train);
  }

  /** Closes one; nothing is received from it after that. */
  close(id: number): void {
    const fd = this.#fdById.get(id);
    if (fd === undefined) return;
    this.#fdById.delete(id);
    this.#readiness.remove(fd);
    libc().symbols.close(fd);
  }

  /** Closes all. */
  shutdown(): Promise<void> {
    for (const id of [...this.#fdById.keys()]) this.close(id);
    return Promise.resolve();
  }

  #receive(id: number, fd: number): void {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const count = this.#receiver.receive(fd);
      for (let i = 0; i < count; i++) {
        const train = this.#receiver.train(i);
        if (train) this.#onReceive(id, train);
        // The receiver of a train may close what it came from.
        if (!this.#fdById.has(id)) return;
      }
      if (count === 0) return;
    }
  }
}

/** A socket on a free loopback port that speaks with the node alone. */
function openConnected(nodePort: number): { fd: number; port: number } {
  const { symbols } = libc();
  const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const fd = check("open a UDP socket", symbols.socket(AF_INET, type, 0));
  try {
    enlarge(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    enlarge(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    // Refused by kernels before 5.0, which hand over each datagram alone.
    setOption(fd, SOL_UDP, UDP_GRO, 1);
    const name = new Uint8Array(SOCKADDR_IN);
    const view = new DataView(name.buffer);
    writeSockaddr(view, 0, AF_INET, LOOPBACK_BYTES, 0);
    check("bind a loopback port", symbols.bind(fd, name, SOCKADDR_IN));
    symbols.getsockname(fd, name, new Uint32Array([SOCKADDR_IN]));
    const port = view.getUint16(2);
    writeSockaddr(view, 0, AF_INET, LOOPBACK_BYTES, nodePort);
    check("connect to the node", libcControl().connect(fd, name, SOCKADDR_IN));
    return { fd, port };
  } catch (error) {
    symbols.close(fd);
    throw error;
  }
}

/** Sets a buffer's size past the system's limit, or up to it without the right to. */
function enlarge(fd: number, force: number, option: number): void {
  if (!setOption(fd, SOL_SOCKET, force, SOCKET_BUFFER)) {
    setOption(fd, SOL_SOCKET, option, SOCKET_BUFFER);
  }
}
