/**
 * Tells when a Mac's network changes (route(4)): the kernel sends a message to every routing socket.
 * Messages say what happened to routes and addresses; interfaces are listed again, since a message
 * about one has no name in it, and since the kernel drops messages for which there is no room
 * without saying so.
 * @module
 */
import { MeshError } from "../../errors.ts";
import { eventsBetween } from "../network_snapshot.ts";
import { NetworkState } from "../network_state.ts";
import { type EventSource, SettledWatch, type WaitResult } from "../settled_watch.ts";
import {
  EVENTS_LOST,
  type NetworkEvent,
  type NetworkWatch,
  type NetworkWatchOptions,
} from "../types_network.ts";
import { check, closeOnExec, ERRNO, type LibSystem, libSystem } from "./libsystem.ts";
import { parseRouteMessages } from "./route_parse.ts";

const PF_ROUTE = 17, SOCK_RAW = 3, AF_UNSPEC = 0;
const SOL_SOCKET = 0xffff, SO_RCVBUF = 0x1002;
/** Bytes; room for a burst such as a change of location. */
const RECEIVE_BUFFER = 256 * 1024;
const MSG_DONTWAIT = 0x80;
const CTL_NET = 4, NET_RT_IFLIST = 3;
/** struct pollfd: descriptor (i32), events, revents (i16 each). */
const POLLFD_BYTES = 8, REVENTS_AT = 6, POLLIN = 1;
/** The kernel's messages are smaller. */
const MESSAGE_BYTES = 65_536;
/** Reads before the event loop has its turn. */
const MAX_ROUNDS = 64;
/** Another interface may come between asking for the length of the list and for the list. */
const LIST_TRIES = 3, LIST_SPARE_BYTES = 4_096;

/**
 * Opens a routing socket and tells of changes from here on.
 *
 * @throws {MeshError} `unsupported`, `privilege-missing`, `system`.
 */
export function watchRouteSocket(
  options: NetworkWatchOptions,
  library: LibSystem = libSystem(),
): NetworkWatch {
  return new SettledWatch(new RouteSocket(library, options), options.onFailure);
}

/** A routing socket and a pipe that ends the wait for it. */
class RouteSocket implements EventSource {
  readonly #library: LibSystem;
  readonly #onChange: NetworkWatchOptions["onChange"];
  readonly #state: NetworkState;
  readonly #fd: number;
  readonly #wake: { readonly readFd: number; readonly writeFd: number };
  readonly #pollFds = new Uint8Array(2 * POLLFD_BYTES);
  readonly #room = new Uint8Array(MESSAGE_BYTES);
  /** Links and addresses as last listed. */
  #listed: readonly NetworkEvent[] = [];
  /** What messages told since the last report. */
  #told: NetworkEvent[] = [];
  #isLost = false;

  constructor(library: LibSystem, { ignoreInterface, onChange }: NetworkWatchOptions) {
    this.#library = library;
    this.#onChange = onChange;
    this.#state = new NetworkState(ignoreInterface);
    this.#fd = openRouteSocket(library);
    try {
      // After the socket is there, so that no change falls between.
      this.#listed = listInterfaces(library);
      this.#wake = openPipe(library);
    } catch (error) {
      library.symbols.close(this.#fd);
      throw error;
    }
    this.#state.apply(this.#listed);
    const view = new DataView(this.#pollFds.buffer);
    [this.#fd, this.#wake.readFd].forEach((fd, i) => {
      view.setInt32(i * POLLFD_BYTES, fd, true);
      view.setInt16(i * POLLFD_BYTES + 4, POLLIN, true);
    });
  }

  async wait(timeoutMs: number): Promise<WaitResult> {
    const count = await this.#library.symbols.pollAsync(this.#pollFds, 2, timeoutMs);
    if (count < 0) return "failed";
    if (count === 0) return "timeout";
    const view = new DataView(this.#pollFds.buffer);
    if (view.getInt16(POLLFD_BYTES + REVENTS_AT, true) !== 0) return "woken";
    // Without POLLIN it is POLLERR or POLLNVAL, and stays so.
    return (view.getInt16(REVENTS_AT, true) & POLLIN) !== 0 ? "event" : "failed";
  }

  /** Reads without waiting, by a flag of the call: fcntl is variadic (`libsystem.ts`). */
  take(): boolean {
    let matters = false;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const { symbols, errno } = this.#library;
      const length = symbols.recv(this.#fd, this.#room, BigInt(MESSAGE_BYTES), MSG_DONTWAIT);
      if (length <= 0) {
        if (length === 0 || errno() !== ERRNO.ENOBUFS) break;
        this.#isLost = matters = true;
        continue;
      }
      const events = parseRouteMessages(this.#room.subarray(0, length));
      // What is not understood may be anything; the list tells.
      if (events === null || events.length > 0) matters = true;
      this.#told.push(...events?.filter((event) => event.type !== "link") ?? []);
    }
    return matters;
  }

  report(): void {
    const told = this.#told;
    const isLost = this.#isLost;
    this.#told = [];
    this.#isLost = false;
    const now = tryListInterfaces(this.#library);
    const links = now?.filter((event) => event.type === "link") ?? [];
    const changes = this.#state.apply([
      ...links,
      ...told,
      ...(now ? eventsBetween(this.#listed, now) : []),
    ]);
    this.#listed = now ?? this.#listed;
    if (isLost || now === null) changes.push(EVENTS_LOST);
    if (changes.length > 0) this.#onChange(changes);
  }

  wake(): void {
    this.#library.symbols.write(this.#wake.writeFd, new Uint8Array(1), 1n);
  }

  release(): void {
    const { symbols } = this.#library;
    for (const fd of [this.#fd, this.#wake.readFd, this.#wake.writeFd]) symbols.close(fd);
  }
}

function openRouteSocket(library: LibSystem): number {
  const { symbols } = library;
  const fd = check(
    library,
    "open a routing socket",
    symbols.socket(PF_ROUTE, SOCK_RAW, AF_UNSPEC),
  );
  closeOnExec(library, fd);
  const size = new Uint8Array(Int32Array.of(RECEIVE_BUFFER).buffer);
  // A smaller buffer than wished for does too.
  symbols.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size, size.length);
  return fd;
}

function openPipe(library: LibSystem): { readFd: number; writeFd: number } {
  const fds = new Int32Array(2);
  const bytes = new Uint8Array(fds.buffer);
  check(library, "open a pipe", library.symbols.pipe(bytes));
  for (const fd of fds) closeOnExec(library, fd);
  return { readFd: fds[0]!, writeFd: fds[1]! };
}

/** Links and addresses there are; null when the system does not say. */
function tryListInterfaces(library: LibSystem): NetworkEvent[] | null {
  try {
    return listInterfaces(library);
  } catch (error) {
    if (error instanceof MeshError) return null;
    throw error;
  }
}

/** @throws {MeshError} `system`. */
function listInterfaces(library: LibSystem): NetworkEvent[] {
  const { symbols, errno } = library;
  const name = new Uint8Array(
    Int32Array.of(CTL_NET, PF_ROUTE, 0, AF_UNSPEC, NET_RT_IFLIST, 0).buffer,
  );
  const ask = (room: Uint8Array<ArrayBuffer> | null, length: BigUint64Array<ArrayBuffer>) =>
    symbols.sysctl(name, 6, room, new Uint8Array(length.buffer), null, 0n);
  for (let left = LIST_TRIES; left > 0; left--) {
    const length = new BigUint64Array(1);
    check(library, "ask for interfaces", ask(null, length));
    const room = new Uint8Array(Number(length[0]) + LIST_SPARE_BYTES);
    length[0] = BigInt(room.length);
    const result = ask(room, length);
    if (result < 0 && errno() === ERRNO.ENOMEM && left > 1) continue;
    check(library, "ask for interfaces", result);
    const events = parseRouteMessages(room.subarray(0, Number(length[0])));
    if (events) return events;
    throw new MeshError("system", "Cannot understand the system's list of interfaces");
  }
  throw new MeshError("system", "Cannot ask for interfaces: their list does not stop growing");
}
