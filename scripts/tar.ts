/**
 * Archives in the ustar format (POSIX.1-1988), just enough to be reproducible: same files, same
 * bytes, whatever the machine and the time.
 * @module
 */

/** A file in an archive. */
export interface TarFile {
  /** At most 100 bytes, ASCII. */
  readonly name: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
}

const BLOCK = 512;
/** Offset and length of each header field that we use. */
const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  magic: [257, 8],
} as const;

/** Packs files into one archive, owned by root, dated 1970, in the given order. */
export function writeTar(files: readonly TarFile[]): Uint8Array {
  const sizes = files.map((file) => BLOCK + padded(file.bytes.length));
  const out = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0) + 2 * BLOCK);
  let at = 0;
  files.forEach((file, i) => {
    writeHeader(out.subarray(at, at + BLOCK), file);
    out.set(file.bytes, at + BLOCK);
    at += sizes[i]!;
  });
  return out;
}

/** The contents of the file `name` in an archive, or null. */
export function readTarFile(archive: Uint8Array, name: string): Uint8Array | null {
  for (let at = 0; at + BLOCK <= archive.length;) {
    const header = archive.subarray(at, at + BLOCK);
    const size = parseInt(readText(header, "size") || "0", 8);
    const start = at + BLOCK;
    if (readText(header, "name") === name) return archive.subarray(start, start + size);
    at = start + padded(size);
  }
  return null;
}

function writeHeader(header: Uint8Array, file: TarFile): void {
  if (file.name.length > FIELDS.name[1]) {
    throw new RangeError(`Cannot pack "${file.name}": its name is too long`);
  }
  const texts: [keyof typeof FIELDS, string][] = [
    ["name", file.name],
    ["mode", octal(file.mode, 7)],
    ["uid", octal(0, 7)],
    ["gid", octal(0, 7)],
    ["size", octal(file.bytes.length, 11)],
    ["mtime", octal(0, 11)],
    ["checksum", " ".repeat(8)],
    ["type", "0"],
    ["magic", "ustar\x0000"],
  ];
  for (const [field, text] of texts) writeText(header, field, text);
  // The checksum is the sum of all bytes of the header with itself taken as blanks.
  const sum = header.reduce((total, byte) => total + byte, 0);
  writeText(header, "checksum", octal(sum, 6) + "\0 ");
}

function writeText(header: Uint8Array, field: keyof typeof FIELDS, text: string): void {
  header.set(new TextEncoder().encode(text), FIELDS[field][0]);
}

function readText(header: Uint8Array, field: keyof typeof FIELDS): string {
  const [offset, length] = FIELDS[field];
  const text = new TextDecoder().decode(header.subarray(offset, offset + length));
  return text.split("\0")[0]!.trim();
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}
