/**
 * The packet workers: `tx` blocks on the TUN and seals, `rx` blocks on the UDP socket and opens.
 *
 * A worker makes no decision that changes state. It blocks in poll(2), so nothing can be posted to
 * it after its first message; the control thread wakes it through its eventfd.
 * @module
 */
import { HEADER, RX, SharedState, TX } from "../dataplane/layout.ts";
import {
  rxMemory,
  SUPER_PACKET,
  TX_BATCH_BYTES,
  txMemory,
  type WorkerMemory,
} from "../dataplane/memory.ts";
import { RxPath, type Source, VERDICT } from "../dataplane/rx_path.ts";
import { DATA_HEADER, TxPath } from "../dataplane/tx_path.ts";
import { tooBigReply } from "../dataplane/too_big.ts";
import { DROPS } from "../drops.ts";
import { kernelAead } from "../kernel/aead.ts";
import { instantiateKernel, VNET_BYTES } from "../kernel/kernel.ts";
import type { AeadChoice } from "../dataplane/settings.ts";
import { chooseAead } from "../platform/linux/aead.ts";
import { openClock } from "../platform/clocks.ts";
import { ERRNO, libc, POLLIN, WakeFd } from "../platform/linux/libc.ts";
import { PinnedMemory } from "../platform/linux/pinned.ts";
import type { TunOffloads } from "../platform/linux/tun.ts";
import { TunWriter } from "../platform/linux/tun_writer.ts";
import type { UdpSocket } from "../platform/linux/udp.ts";
import { UdpReceiver } from "../platform/linux/udp_receiver.ts";
import { UdpSender } from "../platform/linux/udp_sender.ts";

/** What a worker is given at its start. */
export interface WorkerSetup {
  readonly role: "tx" | "rx";
  /** Which of the pairs of workers it belongs to, from 0. */
  readonly pair: number;
  readonly memory: WebAssembly.Memory;
  /** The packet kernel's code. */
  readonly kernel: Uint8Array<ArrayBuffer>;
  readonly aead: AeadChoice;
  readonly tunFd: number;
  readonly tunOffloads: TunOffloads;
  readonly wakeFd: number;
  readonly mtu: number;
  readonly udp: Pick<UdpSocket, "fd" | "family">;
  readonly mayUseGso: boolean;
}

/** A handshake message, with the 16 address bytes and port it came from. */
export interface ControlDatagram {
  readonly bytes: Uint8Array;
  readonly ip: Uint8Array;
  readonly port: number;
}

/** A message about paths, and where it came from. */
export interface PathDatagram extends ControlDatagram {
  readonly peer: number;
}

/** What a worker tells the control thread. */
export type WorkerMessage =
  | { readonly type: "ready" }
  | { readonly type: "flags" }
  | { readonly type: "control"; readonly datagrams: readonly ControlDatagram[] }
  | { readonly type: "path"; readonly datagrams: readonly PathDatagram[] }
  | { readonly type: "unknown"; readonly ip: Uint8Array; readonly port: number }
  | { readonly type: "stopped" };

/** Handshake messages that may wait for the control thread; more are dropped. */
export const HANDSHAKE_QUEUE = 1024;

/** Messages about paths that one batch may hold; peers send a few per second. */
const PATH_QUEUE = 64;
/** Packets read before they are sent. */
const BATCH = 64;
/** A stranger's data may cause this many wake-ups of the control thread per second. */
const UNKNOWN_PER_SECOND = 10;
const DROP_QUEUE_FULL = DROPS.indexOf("queue-full");

interface WorkerScope {
  onmessage: ((event: MessageEvent<WorkerSetup>) => void) | null;
  postMessage(message: WorkerMessage): void;
  close(): void;
}
const scope = globalThis as unknown as WorkerScope;

scope.onmessage = ({ data }) => {
  if (data.role === "tx") runTx(data);
  else runRx(data);
  scope.postMessage({ type: "stopped" });
  scope.close();
};

/** Waits on a descriptor and the wake-up beside it. */
class Poller {
  readonly #fds = new Uint8Array(16);
  readonly #view = new DataView(this.#fds.buffer);

  constructor(fd: number, wakeFd: number) {
    this.#view.setInt32(0, fd, true);
    this.#view.setInt16(4, POLLIN, true);
    this.#view.setInt32(8, wakeFd, true);
    this.#view.setInt16(12, POLLIN, true);
  }

  /** Blocks until one of them is readable. */
  wait(): void {
    this.#view.setInt16(6, 0, true);
    this.#view.setInt16(14, 0, true);
    libc().symbols.poll(this.#fds, 2, -1);
  }

  get isReadable(): boolean {
    return this.#view.getInt16(6, true) !== 0;
  }

  get isWoken(): boolean {
    return this.#view.getInt16(14, true) !== 0;
  }
}

/** What both workers begin with. */
function prepare(setup: WorkerSetup, part: WorkerMemory) {
  const memory = new PinnedMemory(setup.memory.buffer);
  const kernel = instantiateKernel(setup.kernel, setup.memory);
  kernel.setScratch(part.scratch);
  const aead = chooseAead(setup.aead, kernelAead(kernel, memory.bytes, part.cipher));
  const shared = new SharedState(setup.memory.buffer as unknown as SharedArrayBuffer);
  return { memory, kernel, aead, shared, clock: openClock() };
}

/** Whole seconds, signed: V8 boxes larger words. */
function seconds(ms: number): number {
  return Math.floor(ms / 1000) | 0;
}

/** TUN read, route, segment, seal, send. */
function runTx(setup: WorkerSetup): void {
  const part = txMemory(setup.pair);
  const { memory, kernel, aead, shared, clock } = prepare(setup, part);
  const { udp, mtu, tunFd, mayUseGso } = setup;
  const worker = TX + setup.pair;
  const scratchAt = part.end - SUPER_PACKET;
  const sender = new UdpSender({ shared, worker, socket: udp, memory, scratchAt, mayUseGso });
  const path = new TxPath(shared, aead, sender, mtu, { kernel, bytes: memory.bytes }, worker);
  const poller = new Poller(tunFd, setup.wakeFd);
  const wake = new WakeFd(setup.wakeFd);
  const { symbols, errno } = libc();
  path.onTooBig = (bytes, at, length, limit) => {
    const reply = tooBigReply(bytes, at, length, limit);
    const packet = new Uint8Array(VNET_BYTES + reply.length);
    packet.set(reply, VNET_BYTES);
    symbols.write(tunFd, Deno.UnsafePointer.of(packet), packet.length);
  };
  const vector = new PinnedMemory(16);
  vector.words[2] = SUPER_PACKET;
  scope.postMessage({ type: "ready" });

  while (Atomics.load(shared.atomics, HEADER.stop) === 0) {
    poller.wait();
    if (poller.isWoken) {
      wake.drain();
      path.commands();
    }
    if (poller.isReadable) {
      path.begin(seconds(clock()));
      let cursor = part.packets;
      for (let i = 0; i < BATCH && cursor < part.packets + TX_BATCH_BYTES; i++) {
        vector.writeAddress(0, memory.address + cursor + DATA_HEADER - VNET_BYTES);
        const length = symbols.readv(tunFd, vector.pointer, 1);
        if (length <= 0) {
          if (length < 0 && errno() === ERRNO.EINTR) continue;
          break;
        }
        cursor = path.fromTun(cursor, length, scratchAt);
      }
      path.end();
    }
    if (path.notify) {
      path.notify = false;
      scope.postMessage({ type: "flags" });
    }
  }
  path.close();
}

/** UDP receive, open, check, join, TUN write. */
function runRx(setup: WorkerSetup): void {
  const part = rxMemory(setup.pair);
  const { memory, kernel, aead, shared, clock } = prepare(setup, part);
  const worker = RX + setup.pair;
  const { tunFd, tunOffloads } = setup;
  const receiver = new UdpReceiver(setup.udp, memory, part.packets);
  const path = new RxPath(shared, aead, worker);
  const { tcp: mayJoinTcp, udp: mayJoinUdp } = tunOffloads;
  const writer = new TunWriter({ shared, worker, kernel, memory, tunFd, mayJoinTcp, mayJoinUdp });
  const strangers = new Strangers();
  const poller = new Poller(setup.udp.fd, setup.wakeFd);
  const wake = new WakeFd(setup.wakeFd);
  const { source } = receiver;
  const mail = new Mail(shared, worker);
  scope.postMessage({ type: "ready" });

  const each = (at: number, length: number) => {
    const verdict = path.datagram(memory.bytes, at, length, source);
    if (verdict === VERDICT.deliver) {
      writer.write(path.packetAt, path.packetBytes, path.isPiece);
    } else if (verdict === VERDICT.control) {
      mail.control(memory.bytes, at, length, source);
    } else if (verdict === VERDICT.path) {
      mail.path(path.peer, memory.bytes, path.packetAt, path.packetBytes, source);
    } else if (verdict === VERDICT.unknown && strangers.mayReport()) {
      scope.postMessage({ type: "unknown", ip: source.bytes.slice(), port: source.port });
    }
  };

  while (Atomics.load(shared.atomics, HEADER.stop) === 0) {
    poller.wait();
    if (poller.isWoken) {
      wake.drain();
      path.sweep();
    }
    if (poller.isReadable) {
      path.begin(seconds(clock()));
      receiver.forEach(receiver.receive(), each);
      writer.flush();
      path.end();
    }
    mail.post();
    if (path.notify) {
      path.notify = false;
      scope.postMessage({ type: "flags" });
    }
  }
  path.close();
}

/** What one batch holds for the control thread. */
class Mail {
  readonly #shared: SharedState;
  readonly #worker: number;
  #control: ControlDatagram[] = [];
  #path: PathDatagram[] = [];

  constructor(shared: SharedState, worker: number) {
    this.#shared = shared;
    this.#worker = worker;
  }

  /** A handshake or STUN message from anyone: too many are dropped. */
  control(bytes: Uint8Array, at: number, length: number, source: Source): void {
    const { atomics } = this.#shared;
    if (Atomics.add(atomics, HEADER.handshakeQueue, 1) < HANDSHAKE_QUEUE) {
      this.#control.push(copy(bytes, at, length, source));
    } else {
      Atomics.sub(atomics, HEADER.handshakeQueue, 1);
      this.#shared.drop(this.#worker, DROP_QUEUE_FULL);
    }
  }

  /** A message about paths from an authenticated peer. */
  path(peer: number, bytes: Uint8Array, at: number, length: number, source: Source): void {
    if (this.#path.length < PATH_QUEUE) {
      this.#path.push({ peer, ...copy(bytes, at, length, source) });
    } else this.#shared.drop(this.#worker, DROP_QUEUE_FULL);
  }

  post(): void {
    if (this.#control.length > 0) {
      scope.postMessage({ type: "control", datagrams: this.#control });
      this.#control = [];
    }
    if (this.#path.length === 0) return;
    scope.postMessage({ type: "path", datagrams: this.#path });
    this.#path = [];
  }
}

function copy(bytes: Uint8Array, at: number, length: number, source: Source): ControlDatagram {
  return { bytes: bytes.slice(at, at + length), ip: source.bytes.slice(), port: source.port };
}

/** Limits how often unknown indices are reported. */
class Strangers {
  #second = 0;
  #count = 0;

  mayReport(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#count = 0;
    }
    return this.#count++ < UNKNOWN_PER_SECOND;
  }
}
