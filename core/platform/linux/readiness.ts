/**
 * Waits for many descriptors on the control thread (epoll(7)), without holding up its event loop.
 *
 * One call of epoll_wait(2) is pending on a thread of Deno's pool; when it returns, everything that
 * became readable is handled here, and the next call is made. An idle process is never woken.
 * @module
 */
import { assert } from "../../assert.ts";
import { check, libc, WakeFd } from "./libc.ts";
import { libcControl } from "./libc_control.ts";

const EPOLL_CLOEXEC = 0o2000000, EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLLIN = 1;
/** struct epoll_event is packed on x86-64 alone, so that 32-bit programs share its layout. */
const IS_PACKED = Deno.build.arch === "x86_64";
const EVENT_BYTES = IS_PACKED ? 12 : 16, DATA_AT = IS_PACKED ? 4 : 8;
/** Descriptors handled before the event loop has its turn. */
const MAX_EVENTS = 64;
/** Token of the descriptor that ends the wait; those of others count from 1. */
const WAKE = 0;

interface Watched {
  readonly token: number;
  readonly onReadable: () => void;
}

/** The one wait of a thread; end it with {@link shutdown}. */
export class Readiness {
  /** How often the thread was woken; for tests. */
  wakeUps = 0;
  readonly #epoll: number;
  readonly #wake = new WakeFd();
  readonly #events = new Uint8Array(MAX_EVENTS * EVENT_BYTES);
  readonly #watchedByFd = new Map<number, Watched>();
  /** The kernel answers with tokens: a descriptor's number may be another's by then. */
  readonly #watchedByToken = new Map<number, Watched>();
  readonly #ended: Promise<void>;
  #lastToken = WAKE;
  #isStopping = false;

  constructor() {
    this.#epoll = check("create epoll", libcControl().epoll_create1(EPOLL_CLOEXEC));
    this.#control(EPOLL_CTL_ADD, this.#wake.fd, WAKE);
    this.#ended = this.#run();
  }

  /**
   * Calls `onReadable` whenever `fd` can be read or has failed, again and again while that is so.
   * It should read no more than a bounded amount, without blocking.
   */
  add(fd: number, onReadable: () => void): void {
    assert(!this.#isStopping && !this.#watchedByFd.has(fd), `descriptor ${fd} cannot be added`);
    const watched = { token: ++this.#lastToken, onReadable };
    this.#control(EPOLL_CTL_ADD, fd, watched.token);
    this.#watchedByFd.set(fd, watched);
    this.#watchedByToken.set(watched.token, watched);
  }

  /** Forgets a descriptor, which the caller may close then; its function is not called again. */
  remove(fd: number): void {
    const watched = this.#watchedByFd.get(fd);
    if (!watched) return;
    this.#control(EPOLL_CTL_DEL, fd, watched.token);
    this.#watchedByFd.delete(fd);
    this.#watchedByToken.delete(watched.token);
  }

  /** Ends the wait; descriptors stay open. May be called twice. */
  async shutdown(): Promise<void> {
    if (!this.#isStopping) {
      this.#isStopping = true;
      this.#wake.wake();
    }
    await this.#ended;
  }

  async #run(): Promise<void> {
    const control = libcControl();
    const view = new DataView(this.#events.buffer);
    try {
      while (!this.#isStopping) {
        // Negative after a signal, and then asked again.
        const count = await control.epollWaitAsync(this.#epoll, this.#events, MAX_EVENTS, -1);
        this.wakeUps++;
        for (let i = 0; i < count && !this.#isStopping; i++) {
          const token = view.getUint32(i * EVENT_BYTES + DATA_AT, true);
          this.#watchedByToken.get(token)?.onReadable();
        }
      }
    } finally {
      this.#isStopping = true;
      this.#watchedByFd.clear();
      this.#watchedByToken.clear();
      libc().symbols.close(this.#epoll);
      this.#wake.close();
    }
  }

  #control(operation: number, fd: number, token: number): void {
    const event = new Uint8Array(EVENT_BYTES);
    const view = new DataView(event.buffer);
    view.setUint32(0, EPOLLIN, true);
    view.setUint32(DATA_AT, token, true);
    check("watch a descriptor", libcControl().epoll_ctl(this.#epoll, operation, fd, event));
  }
}
