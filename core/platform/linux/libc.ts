/**
 * The C library as this program uses it on Linux: symbols, constants, errno.
 *
 * Results are i32 where C says ssize_t: lengths here fit, and 64-bit results would be BigInt.
 * `ioctl` and `fcntl` are variadic, which the Linux ABIs pass like named arguments. Lengths are
 * declared u32, because a number for `usize` leaves Deno's fast call path; the registers that
 * carry them are zero-extended.
 * @module
 */
import { MeshError } from "../../errors.ts";

const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  write: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  readv: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  writev: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  ioctlValue: { name: "ioctl", parameters: ["i32", "u64", "u64"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "u32", "i32"], result: "i32" },
  pollAsync: {
    name: "poll",
    parameters: ["buffer", "u32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "u32", "i32", "buffer", "u32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  sendmmsg: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  recvmmsg: { parameters: ["i32", "pointer", "u32", "i32", "pointer"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Error numbers that callers tell apart (errno(3)). */
export const ERRNO = {
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  EBUSY: 16,
  EINVAL: 22,
  EPERM: 1,
  EACCES: 13,
  ENOENT: 2,
  ENODEV: 19,
  EMSGSIZE: 90,
  EADDRINUSE: 98,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  EAFNOSUPPORT: 97,
} as const;

export const POLLIN = 1;
export const POLLOUT = 4;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;

/** The opened library; `errno` is this thread's. */
export interface Libc {
  readonly symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
  /** Error number of the call just made on this thread. */
  errno(): number;
}

let opened: Libc | undefined;

/** Opens the C library once for this thread; it stays open until the thread ends. */
export function libc(): Libc {
  if (opened) return opened;
  // glibc by its soname; musl calls itself libc.so.
  const library = tryOpen("libc.so.6") ?? tryOpen("libc.so");
  if (!library) throw new MeshError("unsupported", "Cannot open the C library: none was found");
  const location = library.symbols.__errno_location();
  const errno = new Int32Array(new Deno.UnsafePointerView(location!).getArrayBuffer(4));
  opened = { symbols: library.symbols, errno: () => errno[0]! };
  return opened;
}

function tryOpen(name: string): Deno.DynamicLibrary<typeof SYMBOLS> | null {
  try {
    return Deno.dlopen(name, SYMBOLS);
  } catch {
    return null;
  }
}

/** Waits until a descriptor can be read; false when it could not within so many milliseconds. */
export function waitReadable(fd: number, timeoutMs: number): boolean {
  const poll = new Int32Array([fd, POLLIN]);
  return libc().symbols.poll(new Uint8Array(poll.buffer), 1, timeoutMs) === 1;
}

/** Text of an error number, as far as users meet it. */
export function describeErrno(errno: number): string {
  const name = Object.entries(ERRNO).find(([, number]) => number === errno)?.[0];
  return name ?? `errno ${errno}`;
}

/**
 * Returns `result`, or throws when it is negative.
 *
 * @throws {MeshError} `privilege-missing` for EPERM and EACCES, else `system`.
 */
export function check(action: string, result: number): number {
  if (result >= 0) return result;
  const errno = libc().errno();
  const denied = errno === ERRNO.EPERM || errno === ERRNO.EACCES;
  throw new MeshError(
    denied ? "privilege-missing" : "system",
    `Cannot ${action}: ${describeErrno(errno)}`,
    denied ? { hint: "Run the command as root, for example with sudo" } : {},
  );
}

/** A C string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}

/** A file descriptor that wakes a thread out of poll(2). */
export class WakeFd {
  readonly fd: number;

  /** @param fd An eventfd of another thread; absent to make one. */
  constructor(fd?: number) {
    const EFD_CLOEXEC = 0o2000000, EFD_NONBLOCK = 0o4000;
    this.fd = fd ?? check("create eventfd", libc().symbols.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  }

  /** Wakes whoever polls it; cheap and safe from any thread. */
  wake(): void {
    libc().symbols.write(this.fd, Deno.UnsafePointer.of(ONE), 8);
  }

  /** Clears what {@link wake} set. */
  drain(): void {
    libc().symbols.read(this.fd, Deno.UnsafePointer.of(SCRATCH), 8);
  }

  close(): void {
    libc().symbols.close(this.fd);
  }
}

const ONE = new BigUint64Array([1n]);
const SCRATCH = new BigUint64Array(1);
