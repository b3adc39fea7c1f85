/**
 * A small HTTP proxy that knows CONNECT and nothing else, on loopback: a fixture.
 * @module
 */
import net from "node:net";

/** How the proxy behaves. */
export interface ConnectProxyOptions {
  /** Required `Proxy-Authorization`; others get 407. */
  readonly authorization?: string;
  /** Sent to everybody in place of an answer; null: never answers. */
  readonly answer?: string | null;
}

/** A proxy that listens. */
export class ConnectProxy implements AsyncDisposable {
  /** The heads of all requests. */
  readonly requests: string[] = [];
  readonly #options: ConnectProxyOptions;
  readonly #server = net.createServer((client) => this.#serve(client));
  readonly #sockets = new Set<net.Socket>();

  private constructor(options: ConnectProxyOptions) {
    this.#options = options;
  }

  static async start(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(options);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
  }

  #serve(client: net.Socket): void {
    this.#track(client);
    let head = "";
    const onData = (chunk: Uint8Array) => {
      head += new TextDecoder("latin1").decode(chunk);
      if (!head.endsWith("\r\n\r\n")) return;
      client.off("data", onData);
      this.requests.push(head);
      this.#answer(client, head);
    };
    client.on("data", onData);
  }

  #answer(client: net.Socket, head: string): void {
    const { answer, authorization } = this.#options;
    if (answer === null) return;
    if (answer !== undefined) return void client.write(answer);
    if (authorization && !head.includes(`\r\nProxy-Authorization: ${authorization}\r\n`)) {
      return void client.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    }
    const [, host, port] = /^CONNECT (\S+):(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
    const upstream = net.connect(Number(port), host);
    this.#track(upstream);
    upstream.on("connect", () => {
      client.write("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
      client.pipe(upstream).pipe(client);
    });
    upstream.on("close", () => client.destroy());
    client.on("close", () => upstream.destroy());
  }

  #track(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
