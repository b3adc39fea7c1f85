/**
 * Gives memory back that a start has touched and running does not need: the program's own code, and
 * what the allocator of the C library keeps for later.
 *
 * Most of a runtime's code runs once. Its pages are a clean copy of the file, so dropping them
 * (madvise(2), MADV_DONTNEED) loses nothing; what is needed again is mapped from the page cache.
 * Only mappings that cannot be written and hold no private copy are touched.
 * @module
 */
import { cString, libc } from "./libc.ts";

const MADV_DONTNEED = 4;
const CHUNK = 65_536;

/** One mapping of the process (proc_pid_smaps(5)). */
export interface Mapping {
  readonly start: bigint;
  readonly length: bigint;
  readonly permissions: string;
  readonly path: string;
  /** KiB of private, changed pages. */
  readonly anonymous: number;
}

/** Drops free memory and clean code pages; returns how many mappings of code were dropped. */
export function trimMemory(): number {
  const clean = parseSmaps(readProcFile("/proc/self/smaps")).filter(isCleanFile);
  const library = Deno.dlopen("libc.so.6", {
    madvise: { parameters: ["u64", "u64", "i32"], result: "i32" },
    // glibc has it, musl does not.
    malloc_trim: { parameters: ["u32"], result: "i32", optional: true },
  });
  try {
    library.symbols.malloc_trim?.(0);
    return clean.filter(({ start, length }) =>
      library.symbols.madvise(start, length, MADV_DONTNEED) === 0
    ).length;
  } finally {
    library.close();
  }
}

/** Whether the mapping is an unchanged, unwritable image of a file. */
export function isCleanFile({ permissions, path, anonymous }: Mapping): boolean {
  return path.startsWith("/") && !permissions.includes("w") && permissions.endsWith("p") &&
    anonymous === 0;
}

/** Reads the text of /proc/self/smaps. */
export function parseSmaps(text: string): Mapping[] {
  const mappings: Mapping[] = [];
  let head: RegExpExecArray | null = null;
  for (const line of text.split("\n")) {
    head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)$/.exec(line) ?? head;
    const anonymous = /^Anonymous:\s+(\d+) kB/.exec(line);
    if (!head || !anonymous) continue;
    const start = BigInt(`0x${head[1]}`);
    mappings.push({
      start,
      length: BigInt(`0x${head[2]}`) - start,
      permissions: head[3]!,
      path: head[4]!,
      anonymous: Number(anonymous[1]),
    });
    head = null;
  }
  return mappings;
}

/** Deno guards /proc by more than the read permission that the daemon keeps; libc does not. */
/** The text of a file under /proc, which Deno itself reads only with every permission. */
export function readProcFile(path: string): string {
  const { symbols } = libc();
  const fd = symbols.open(cString(path), 0);
  if (fd < 0) return "";
  const chunk = new Uint8Array(CHUNK);
  const pointer = Deno.UnsafePointer.of(chunk);
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const length = symbols.read(fd, pointer, CHUNK);
    if (length <= 0) break;
    text += decoder.decode(chunk.subarray(0, length), { stream: true });
  }
  symbols.close(fd);
  return text;
}
