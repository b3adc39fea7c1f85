/**
 * Calls of the C library that only the control thread makes: waiting for many descriptors at once,
 * connecting sockets and asking for their options. Packet workers do without them, so they are not in `libc.ts`.
 * @module
 */
import { MeshError } from "../../errors.ts";

const SYMBOLS = {
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epollWaitAsync: {
    name: "epoll_wait",
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

let opened: Library | undefined;

/** Opens the C library once; it stays open until the thread ends. */
export function libcControl(): Library["symbols"] {
  // glibc by its soname; musl calls itself libc.so.
  opened ??= tryOpen("libc.so.6") ?? tryOpen("libc.so");
  if (!opened) throw new MeshError("unsupported", "Cannot open the C library: none was found");
  return opened.symbols;
}

function tryOpen(name: string): Library | undefined {
  try {
    return Deno.dlopen(name, SYMBOLS);
  } catch {
    return undefined;
  }
}
