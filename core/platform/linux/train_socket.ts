/**
 * A UDP socket of the control thread at one IPv4 address, for trains to and from many.
 * @module
 */
import { formatEndpoint, type Ip, parseIp } from "../../ip.ts";
import type { Train } from "../../link.ts";
import { AF_INET, check, libc, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from "./libc.ts";
import { SOL_UDP, UDP_GRO } from "./messages.ts";
import type { Readiness } from "./readiness.ts";
import { TrainReceiver } from "./train_receiver.ts";
import { TrainSender } from "./train_sender.ts";
import { setOption } from "./udp.ts";

const IPPROTO_IP = 0, IP_MTU_DISCOVER = 10, PMTUDISC_DONT = 0;
const SOL_SOCKET = 1, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33;
/** Bytes; what comes while the thread is busy. */
const SOCKET_BUFFER = 4 << 20;
const SOCKADDR_IN = 16;
/** System calls before others and the event loop have their turn. */
const MAX_ROUNDS = 4;

/** See the module's doc. */
export class TrainSocket {
  readonly #fd: number;
  readonly #readiness: Readiness;
  readonly #onReceive: (from: Ip, port: number, train: Train) => void;
  readonly #receiver = new TrainReceiver();
  readonly #sender = new TrainSender();
  #isClosed = false;

  /**
   * @param onReceive Told what came; the train is valid during the call.
   * @throws {MeshError} "system" when the address cannot be bound.
   */
  constructor(
    address: { readonly ip: Ip; readonly port: number },
    onReceive: (from: Ip, port: number, train: Train) => void,
    readiness: Readiness,
  ) {
    this.#readiness = readiness;
    this.#onReceive = onReceive;
    this.#fd = openAt(address.ip, address.port);
    readiness.add(this.#fd, () => this.#receive());
  }

  /** Sends; false when all or the rest of the train was refused. */
  send(ip: Ip, port: number, train: Train): boolean {
    return !this.#isClosed && this.#sender.send(this.#fd, train, nameOf(ip, port));
  }

  /** Nothing is received after that. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#readiness.remove(this.#fd);
    libc().symbols.close(this.#fd);
  }

  #receive(): void {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const count = this.#receiver.receive(this.#fd);
      for (let i = 0; i < count; i++) {
        const train = this.#receiver.train(i);
        const { ip, port } = this.#receiver.sourceParts(i);
        if (train) this.#onReceive(ip, port, train);
        // The receiver of a train may close the socket.
        if (this.#isClosed) return;
      }
      if (count === 0) return;
    }
  }
}

function openAt(ip: Ip, port: number): number {
  const { symbols } = libc();
  const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const fd = check("open a UDP socket", symbols.socket(AF_INET, type, 0));
  try {
    setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER);
    setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER);
    // What is too long for the way is cut rather than refused.
    setOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT);
    setOption(fd, SOL_UDP, UDP_GRO, 1);
    check(`bind ${formatEndpoint(ip, port)}`, symbols.bind(fd, nameOf(ip, port), SOCKADDR_IN));
    return fd;
  } catch (error) {
    symbols.close(fd);
    throw error;
  }
}

/** struct sockaddr_in. */
function nameOf(ip: Ip, port: number): Uint8Array<ArrayBuffer> {
  const name = new Uint8Array(SOCKADDR_IN);
  const view = new DataView(name.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  name.set(parseIp(ip)!, 4);
  return name;
}
