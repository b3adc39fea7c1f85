/**
 * The packet workers: `tx` blocks on the TUN and seals, `rx` blocks on the UDP socket and opens.
 *
 * A worker makes no decision that changes state. It blocks in poll(2), so nothing can be posted to
 * it after its first message; the control thread wakes it through its eventfd.
 * @module
 */
import { HEADER, RX, SharedState } from "../dataplane/layout.ts";
import { RxPath, VERDICT } from "../dataplane/rx_path.ts";
import { DATA_HEADER, DATA_TRAILER, TxPath } from "../dataplane/tx_path.ts";
import { DROPS } from "../drops.ts";
import { ERRNO, libc, POLLIN, WakeFd } from "../platform/linux/libc.ts";
import { chooseAead } from "../platform/linux/libcrypto.ts";
import { PinnedMemory, UdpReceiver, UdpSender, type UdpSocket } from "../platform/linux/udp.ts";

/** What a worker is given at its start. */
export interface WorkerSetup {
  readonly role: "tx" | "rx";
  readonly shared: SharedArrayBuffer;
  readonly tunFd: number;
  readonly wakeFd: number;
  readonly mtu: number;
  readonly udp: Pick<UdpSocket, "fd" | "port" | "family" | "hasGro">;
}

/** A handshake message, with the 16 address bytes and port it came from. */
export interface ControlDatagram {
  readonly bytes: Uint8Array;
  readonly ip: Uint8Array;
  readonly port: number;
}

/** What a worker tells the control thread. */
export type WorkerMessage =
  | { readonly type: "ready"; readonly aead: string }
  | { readonly type: "flags" }
  | { readonly type: "control"; readonly datagrams: readonly ControlDatagram[] }
  | { readonly type: "unknown"; readonly ip: Uint8Array; readonly port: number }
  | { readonly type: "stopped" };

/** Handshake messages that may wait for the control thread; more are dropped. */
export const HANDSHAKE_QUEUE = 1024;

/** Packets read before they are sent. */
const BATCH = 64;
/** Room for one foreign datagram behind the packet slots. */
const SCRATCH = 65_536;
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

/** TUN read, route, seal, send. */
function runTx(setup: WorkerSetup): void {
  const shared = new SharedState(setup.shared);
  const stride = DATA_HEADER + ((Math.max(setup.mtu, 1500) + DATA_TRAILER + 15) & ~15);
  const memory = new PinnedMemory(BATCH * stride + SCRATCH);
  const packets = Array.from({ length: BATCH }, (_, i) => memory.at(i * stride + DATA_HEADER));
  const aead = chooseAead();
  const socket = { ...setup.udp, send: () => false, close: () => {} };
  const sender = new UdpSender(shared, socket, memory, SCRATCH);
  const path = new TxPath(shared, aead, sender, setup.mtu);
  const poller = new Poller(setup.tunFd, setup.wakeFd);
  const wake = new WakeFd(setup.wakeFd);
  const { symbols, errno } = libc();
  scope.postMessage({ type: "ready", aead: aead.name });

  while (Atomics.load(shared.atomics, HEADER.stop) === 0) {
    poller.wait();
    if (poller.isWoken) {
      wake.drain();
      path.commands();
    }
    if (poller.isReadable) {
      path.begin();
      for (let i = 0; i < BATCH; i++) {
        const length = symbols.read(setup.tunFd, packets[i]!, stride - DATA_HEADER - DATA_TRAILER);
        if (length <= 0) {
          if (length < 0 && errno() === ERRNO.EINTR) continue;
          break;
        }
        path.packet(memory.bytes, i * stride + DATA_HEADER, length);
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

/** UDP receive, open, check, TUN write. */
function runRx(setup: WorkerSetup): void {
  const shared = new SharedState(setup.shared);
  const aead = chooseAead();
  const socket = { ...setup.udp, send: () => false, close: () => {} };
  const receiver = new UdpReceiver(socket);
  const path = new RxPath(shared, aead);
  const strangers = new Strangers();
  const poller = new Poller(setup.udp.fd, setup.wakeFd);
  const wake = new WakeFd(setup.wakeFd);
  const { symbols } = libc();
  const { memory, source } = receiver;
  const vector = new PinnedMemory(16);
  let handshakes: ControlDatagram[] = [];
  scope.postMessage({ type: "ready", aead: aead.name });

  const each = (at: number, length: number) => {
    const verdict = path.datagram(memory.bytes, at, length, source);
    if (verdict === VERDICT.deliver) {
      vector.writeAddress(0, memory.address + path.packetAt);
      vector.words[2] = path.packetBytes;
      symbols.writev(setup.tunFd, vector.pointer, 1);
    } else if (verdict === VERDICT.control) {
      if (Atomics.add(shared.atomics, HEADER.handshakeQueue, 1) < HANDSHAKE_QUEUE) {
        const bytes = memory.bytes.slice(at, at + length);
        handshakes.push({ bytes, ip: source.bytes.slice(), port: source.port });
      } else {
        Atomics.sub(shared.atomics, HEADER.handshakeQueue, 1);
        shared.drop(RX, DROP_QUEUE_FULL);
      }
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
      path.begin();
      receiver.forEach(receiver.receive(), each);
      path.end();
    }
    if (handshakes.length > 0) {
      scope.postMessage({ type: "control", datagrams: handshakes });
      handshakes = [];
    }
    if (path.notify) {
      path.notify = false;
      scope.postMessage({ type: "flags" });
    }
  }
  path.close();
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
