/**
 * The C library as this program uses it on macOS: symbols, constants, errno.
 *
 * `fcntl` is variadic, and Apple's arm64 ABI passes variadic arguments on the stack where x86-64
 * uses the next register. So it is declared with nine arguments: the third is what x86-64 reads,
 * the ninth is the first one on the stack of arm64.
 * @module
 */
import { errorMessage, MeshError } from "../../errors.ts";

const SYMBOLS = {
  close: { parameters: ["i32"], result: "i32" },
  fcntl: {
    parameters: ["i32", "i32", "i64", "i64", "i64", "i64", "i64", "i64", "i64"],
    result: "i32",
  },
  pipe: { parameters: ["buffer"], result: "i32" },
  pollAsync: {
    name: "poll",
    parameters: ["buffer", "u32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  sysctl: { parameters: ["buffer", "u32", "buffer", "buffer", "buffer", "usize"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  __error: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** The opened library; `errno` is this thread's. */
export interface LibSystem {
  readonly symbols: Omit<Symbols, "__error">;
  /** Error number of the call just made on this thread. */
  errno(): number;
}

/** Error numbers that callers tell apart (errno(2)). */
export const ERRNO = { EPERM: 1, ENOMEM: 12, EACCES: 13, EAGAIN: 35, ENOBUFS: 55 } as const;

const PATH = "/usr/lib/libSystem.B.dylib";
const F_SETFD = 2, FD_CLOEXEC = 1n;

let opened: LibSystem | undefined;

/**
 * Opens the library once for this thread; it stays open until the thread ends.
 *
 * @throws {MeshError} `unsupported`.
 */
export function libSystem(): LibSystem {
  if (opened) return opened;
  try {
    const { symbols } = Deno.dlopen(PATH, SYMBOLS);
    const errno = new Int32Array(new Deno.UnsafePointerView(symbols.__error()!).getArrayBuffer(4));
    opened = { symbols, errno: () => errno[0]! };
    return opened;
  } catch (error) {
    throw new MeshError("unsupported", `Cannot open the system library: ${errorMessage(error)}`);
  }
}

/**
 * Returns `result`, or throws when it is negative.
 *
 * @throws {MeshError} `privilege-missing` for EPERM and EACCES, else `system`.
 */
export function check(library: LibSystem, action: string, result: number): number {
  if (result >= 0) return result;
  const errno = library.errno();
  const denied = errno === ERRNO.EPERM || errno === ERRNO.EACCES;
  const name = Object.entries(ERRNO).find(([, number]) => number === errno)?.[0];
  throw new MeshError(
    denied ? "privilege-missing" : "system",
    `Cannot ${action}: ${name ?? `errno ${errno}`}`,
    denied ? { hint: "Run the command as root, for example with sudo" } : {},
  );
}

/** Keeps a descriptor from programs that are started; without it they would merely hold it too. */
export function closeOnExec({ symbols }: LibSystem, fd: number): void {
  symbols.fcntl(fd, F_SETFD, FD_CLOEXEC, 0n, 0n, 0n, 0n, 0n, FD_CLOEXEC);
}
