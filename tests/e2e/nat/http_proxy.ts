/**
 * An HTTP proxy in the lab that knows CONNECT and nothing else (RFC 9110 section 9.3.6).
 * Usage: http_proxy.ts PORT
 * @module
 */
import net from "node:net";

/** The request for `address:port`; what follows the head is for the target. */
const REQUEST = /^CONNECT (\S+):(\d+) HTTP\/1\.1\r\n(?:.+\r\n)*\r\n/;

const server = net.createServer((client) => {
  let text = "";
  client.on("error", () => client.destroy());
  client.on("data", function onData(chunk: Uint8Array) {
    text += new TextDecoder("latin1").decode(chunk);
    if (!text.includes("\r\n\r\n")) return;
    client.off("data", onData);
    const [head, host, port] = REQUEST.exec(text) ?? [];
    // Clients wait for the answer before they send more.
    if (head === text) connect(client, host!.replace(/^\[|\]$/g, ""), Number(port));
    else client.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
});

function connect(client: net.Socket, host: string, port: number): void {
  const target = net.connect({ host, port, noDelay: true });
  client.setNoDelay(true);
  target.on("connect", () => {
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    client.pipe(target).pipe(client);
  });
  target.on("error", () => client.destroy());
  target.on("close", () => client.destroy());
  client.on("close", () => target.destroy());
}

server.listen(Number(Deno.args[0]), () => console.log("ready"));
