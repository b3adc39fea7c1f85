/**
 * DNS messages on a TCP connection: each has its length in front (RFC 1035 section 4.2.2).
 * @module
 */

/**
 * Reads one message; null at the end of the stream.
 * @throws when the connection fails or is closed meanwhile.
 */
export async function readFrame(connection: Deno.TcpConn): Promise<Uint8Array | null> {
  const length = await readExactly(connection, 2);
  return length && await readExactly(connection, (length[0]! << 8) | length[1]!);
}

async function readExactly(connection: Deno.TcpConn, length: number): Promise<Uint8Array | null> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await connection.read(bytes.subarray(at));
    if (count === null) return null;
    at += count;
  }
  return bytes;
}

/** Writes all of `bytes`. */
export async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Closes what may be closed already. */
export function closeQuietly(closable: { close(): void }): void {
  try {
    closable.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
