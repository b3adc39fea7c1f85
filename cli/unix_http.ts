/**
 * HTTP/1.1 over one unix socket that stays open, one request after another.
 *
 * `fetch` would open the socket when it first asks, and so need the network while a command runs.
 * Here the connection is made first and the right to make others is given up (RFC 9112: answers
 * have a length, chunks, or end with the connection).
 * @module
 */

/** No answer's head is longer; what is has lost its way. */
const MAX_HEAD_BYTES = 65_536;

/** An answer; its body is read once, to its end. */
export interface UnixResponse {
  readonly status: number;
  readonly body: AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** A connection to an HTTP server on a unix socket. */
export class UnixHttp implements Disposable {
  readonly #connection: Deno.UnixConn;
  /** Received and not yet read. */
  #rest = new Uint8Array();

  private constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  /** @throws what `Deno.connect()` throws. */
  static async connect(path: string): Promise<UnixHttp> {
    return new UnixHttp(await Deno.connect({ transport: "unix", path }));
  }

  /** Sends a request; the answer before it has been read to its end. */
  async request(method: string, path: string, json?: unknown): Promise<UnixResponse> {
    const body = new TextEncoder().encode(json === undefined ? "" : JSON.stringify(json));
    const head = [
      `${method} ${path} HTTP/1.1`,
      "host: localhost",
      ...(json === undefined ? [] : ["content-type: application/json"]),
      `content-length: ${body.length}`,
    ];
    await this.#write(concat(new TextEncoder().encode(head.join("\r\n") + "\r\n\r\n"), body));
    const lines = await this.#head();
    const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(lines[0] ?? "") ?? [];
    if (status === undefined) throw new Error("Cannot read the answer: it is not HTTP");
    return { status: Number(status), body: this.#body(lines) };
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }

  async #head(): Promise<string[]> {
    const lines: string[] = [];
    for (let size = 0;;) {
      const line = await this.#line();
      if (line === "") return lines;
      lines.push(line);
      size += line.length;
      if (size > MAX_HEAD_BYTES) throw new Error("Cannot read the answer: its head has no end");
    }
  }

  #body(head: readonly string[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const field = (name: string) =>
      head.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim();
    if (field("transfer-encoding")?.toLowerCase() === "chunked") return this.#chunks();
    return this.#bytes(Number(field("content-length") ?? 0));
  }

  async *#chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for (;;) {
      const length = parseInt(await this.#line(), 16);
      if (!(length >= 0)) throw new Error("Cannot read the answer: a chunk has no length");
      yield* this.#bytes(length);
      const end = await this.#line();
      if (end !== "") throw new Error("Cannot read the answer: a chunk is longer than it says");
      if (length === 0) return;
    }
  }

  async *#bytes(length: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    while (length > 0) {
      if (this.#rest.length === 0) await this.#read();
      const part = this.#rest.slice(0, length);
      this.#rest = this.#rest.slice(part.length);
      length -= part.length;
      yield part;
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf(0x0a);
      if (end >= 0) {
        const line = new TextDecoder().decode(this.#rest.subarray(0, end));
        this.#rest = this.#rest.slice(end + 1);
        return line.replace(/\r$/, "");
      }
      if (this.#rest.length > MAX_HEAD_BYTES) {
        throw new Error("Cannot read the answer: a line has no end");
      }
      await this.#read();
    }
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    const count = await this.#connection.read(buffer);
    if (count === null) throw new Error("Connection closed before the answer's end");
    this.#rest = concat(this.#rest, buffer.subarray(0, count));
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
