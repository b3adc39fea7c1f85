/**
 * The running data plane on Linux: TUN, UDP socket and the two packet workers, as the control
 * thread holds them.
 * @module
 */
import { HEADER, MAX_WORKERS, SharedState } from "../dataplane/layout.ts";
import { createMemory } from "../dataplane/memory.ts";
import { type Aead, nobleAead } from "../dataplane/aead.ts";
import { Sealer } from "../dataplane/sealer.ts";
import type { Acceleration, AeadChoice, DataPlaneSettings } from "../dataplane/settings.ts";
import { FEATURE } from "../dataplane/features.ts";
import { AEAD_BYTES, kernelAead } from "../kernel/aead.ts";
import { instantiateKernel, SCRATCH_BYTES } from "../kernel/kernel.ts";
import { PeerTable } from "../dataplane/table.ts";
import { MeshError } from "../errors.ts";
import { chooseAead } from "../platform/linux/aead.ts";
import { type DfSender, openDfSender } from "../platform/linux/df_socket.ts";
import { WakeFd } from "../platform/linux/libc.ts";
import { SOCKET_MARK } from "../exit/numbers.ts";
import { openTun, type TunDevice } from "../platform/linux/tun.ts";
import { testUdpOffloads, type UdpOffloads } from "../platform/linux/udp_self_test.ts";
import { openUdp, type UdpSockets } from "../platform/linux/udp.ts";
import { systemRandom } from "./system_random.ts";
import type { ControlDatagram, PathDatagram, WorkerMessage, WorkerSetup } from "./worker.ts";
import { workerUrl } from "./worker_url.ts";

/** What the control thread is told of. */
export interface DataPlaneEvents {
  /** Flags of some peers changed: look at them. */
  flags(): void;
  /** Handshake messages came; `underLoad` asks for cookies. */
  control(datagrams: readonly ControlDatagram[], underLoad: boolean): void;
  /** Messages about paths came inside sessions. */
  path(datagrams: readonly PathDatagram[]): void;
  /** Transport data for an index that is not ours. */
  unknown(ip: Uint8Array, port: number): void;
  /** A worker died: the node cannot go on. */
  failed(error: Error): void;
}

export interface DataPlaneOptions {
  readonly interfaceName: string;
  readonly mtu: number;
  /** Preferred port; another is taken when it is in use. */
  readonly udpPort: number;
  readonly settings: DataPlaneSettings;
  /** Code of the packet kernel. */
  readonly kernel: Uint8Array<ArrayBuffer>;
}

/** Handshake messages waiting from which on senders must prove their address (wireguard-go's). */
const UNDER_LOAD = 128;
/** The state lasts this long after the queue was last that full. */
const UNDER_LOAD_MS = 1000;
/** How long a worker may take to stop before the process ends anyway. */
const STOP_MS = 1000;

/** TUN, socket and workers; {@link close} removes the interface with its addresses and routes. */
export class DataPlane {
  readonly table: PeerTable;
  readonly sealer: Sealer;
  readonly interfaceName: string;
  readonly udpPort: number;
  /** What seals packets, and what it may agree on with other nodes. */
  readonly aeadName: AeadChoice;
  readonly features: number;
  /** Accelerations in use at interface and socket. */
  readonly offloads: readonly Acceleration[];
  readonly #udpOffloads: UdpOffloads;
  readonly #memory: WebAssembly.Memory;
  readonly #shared: SharedState;
  readonly #options: DataPlaneOptions;
  readonly #tun: TunDevice;
  readonly #udp: UdpSockets;
  readonly #df: DfSender;
  readonly #events: DataPlaneEvents;
  readonly #workers: { worker: Worker; wake: WakeFd; stopped: PromiseWithResolvers<void> }[] = [];
  #loadedUntil = 0;

  /** Opens devices and starts the workers; await {@link ready} before relying on them. */
  constructor(options: DataPlaneOptions, events: DataPlaneEvents) {
    this.#events = events;
    this.#options = options;
    const { aead, disabled } = options.settings;
    const { name, prefersAes } = probeAead(aead, options.kernel);
    this.aeadName = name === "wasm" ? "wasm" : "libcrypto";
    const pairs = options.settings.workers ?? defaultPairs(navigator.hardwareConcurrency);
    this.#memory = createMemory(pairs);
    this.#shared = new SharedState(this.#memory.buffer as unknown as SharedArrayBuffer);
    Atomics.store(this.#shared.atomics, HEADER.workers, pairs);
    const isWanted = (name: Acceleration) => !disabled.includes(name);
    this.#udpOffloads = testUdpOffloads({ gso: isWanted("gso"), gro: isWanted("gro") });
    this.#udp = openPort(options.udpPort, this.#udpOffloads.gro, pairs);
    try {
      const wanted = { tcp: isWanted("tso"), udp: isWanted("uso") };
      this.#tun = openTun(options.interfaceName, wanted, pairs);
      this.#df = openDf(this.#udp, this.#tun);
    } catch (error) {
      this.#udp.close();
      throw error;
    }
    this.features = FEATURE.paths | (isWanted("pieces") ? FEATURE.pieces : 0) |
      (prefersAes && isWanted("aes") ? FEATURE.aes256gcm : 0);
    const { tcp: tso, udp: uso } = this.#tun.offloads;
    const inUse = { tso, uso, ...this.#udpOffloads };
    this.offloads = (["tso", "uso", "gso", "gro"] as const).filter((name) => inUse[name]);
    this.udpPort = this.#udp.port;
    this.interfaceName = this.#tun.name;
    this.table = new PeerTable(this.#shared);
    this.table.openFlows(systemRandom.uint32());
    // A few short messages per second: what the kernel is for is not worth its memory here.
    this.sealer = new Sealer(this.#shared, nobleAead);
    const numbers = Array.from({ length: pairs }, (_, pair) => pair);
    this.ready = Promise.all(numbers.flatMap((pair) => [
      this.#start("tx", pair),
      this.#start("rx", pair),
    ]));
  }

  /** Settles when both workers take packets. */
  readonly ready: Promise<unknown>;

  /** Sends a datagram that no router may fragment. */
  transmitWhole(bytes: Uint8Array, ip: Uint8Array, port: number): void {
    this.#df.send(bytes, ip, port);
  }

  /** Sends a handshake datagram. */
  transmit(bytes: Uint8Array, ip: Uint8Array, port: number): boolean {
    return this.#udp.send(bytes, ip, port);
  }

  /** Tells workers that the table holds commands for them. */
  kick(): void {
    for (const { wake } of this.#workers) wake.wake();
  }

  /** Stops the workers and closes the devices. */
  async close(): Promise<void> {
    Atomics.store(this.#shared.atomics, HEADER.stop, 1);
    this.kick();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, STOP_MS));
    await Promise.race([Promise.all(this.#workers.map(({ stopped }) => stopped.promise)), late]);
    clearTimeout(timer);
    this.#tun.close();
    this.#df.close();
    this.#udp.close();
    this.sealer.close();
    for (const { worker, wake } of this.#workers) {
      worker.terminate();
      wake.close();
    }
  }

  #start(role: "tx" | "rx", pair: number): Promise<void> {
    const worker = new Worker(workerUrl(), {
      type: "module",
      name: `tunnelmesh-${role}${pair}`,
      deno: { permissions: { ffi: true, read: "inherit" } },
    });
    const wake = new WakeFd();
    const stopped = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    this.#workers.push({ worker, wake, stopped });
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
      if (data.type === "ready") started.resolve();
      else if (data.type === "stopped") stopped.resolve();
      else this.#dispatch(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const error = new MeshError(
        "internal",
        `Cannot go on: packet worker ${role} failed: ${event.message}`,
      );
      started.reject(error);
      stopped.resolve();
      this.#events.failed(error);
    };
    const { mtu, kernel } = this.#options;
    const setup: WorkerSetup = {
      role,
      pair,
      memory: this.#memory,
      kernel,
      aead: this.aeadName,
      tunFd: this.#tun.queues[pair]!,
      tunOffloads: this.#tun.offloads,
      wakeFd: wake.fd,
      mtu,
      udp: { fd: this.#udp.fds[pair]!, family: this.#udp.family },
      mayUseGso: this.#udpOffloads.gso,
    };
    worker.postMessage(setup);
    return started.promise;
  }

  #dispatch(message: Exclude<WorkerMessage, { type: "ready" | "stopped" }>): void {
    switch (message.type) {
      case "flags":
        return this.#events.flags();
      case "path":
        return this.#events.path(message.datagrams);
      case "unknown":
        return this.#events.unknown(message.ip, message.port);
      case "control": {
        const count = message.datagrams.length;
        const waiting = Atomics.sub(this.#shared.atomics, HEADER.handshakeQueue, count);
        const now = performance.now();
        if (waiting >= UNDER_LOAD) this.#loadedUntil = now + UNDER_LOAD_MS;
        return this.#events.control(message.datagrams, now < this.#loadedUntil);
      }
    }
  }
}

/** Opens what probes path MTUs; the interface goes when that fails. */
function openDf(udp: UdpSockets, tun: TunDevice): DfSender {
  try {
    return openDfSender(udp);
  } catch (error) {
    tun.close();
    throw error;
  }
}

/** One pair keeps two processors busy, and the machine has more to do than this. */
function defaultPairs(processors: number): number {
  return Math.max(1, Math.min(MAX_WORKERS / 2, Math.floor(processors / 4)));
}

/** What the workers will choose, told by the same probe in this thread. */
function probeAead(choice: AeadChoice, code: Uint8Array<ArrayBuffer>): Aead {
  const pages = Math.ceil((SCRATCH_BYTES + AEAD_BYTES) / 65_536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const kernel = instantiateKernel(code, memory);
  kernel.setScratch(0);
  return chooseAead(choice, kernelAead(kernel, new Uint8Array(memory.buffer), SCRATCH_BYTES));
}

function openPort(udpPort: number, wantsGro: boolean, sockets: number): UdpSockets {
  try {
    return openUdp(udpPort, wantsGro, sockets, SOCKET_MARK);
  } catch (error) {
    const isTaken = error instanceof MeshError && error.code === "already-running";
    if (!isTaken) throw error;
    return openUdp(0, wantsGro, sockets, SOCKET_MARK);
  }
}
