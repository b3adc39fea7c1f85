/**
 * An upstream resolver for tests: every name is at 198.51.100.1 and nothing else.
 * Usage: dns_upstream.ts ADDRESS...; prints `ready`.
 * @module
 */
import { decodeQuery, encodeAnswer, RCODE, TYPE } from "../../core/dns/message.ts";

for (const hostname of Deno.args) serve(hostname);
console.log("ready");

async function serve(hostname: string): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 53 });
  for await (const [message, from] of socket) {
    const decoded = decodeQuery(message);
    if (decoded.kind !== "query") continue;
    const { query } = decoded;
    const owner = query.name.offsets[0]!;
    const record = { owner, type: TYPE.a, ttl: 0, data: new Uint8Array([198, 51, 100, 1]) };
    const isMesh = ["tm", "mesh", "tunnelmesh"].includes(query.name.labels.at(-1) ?? "");
    const rcode = isMesh ? RCODE.nxDomain : RCODE.noError;
    const answers = query.type === TYPE.a && !isMesh ? [record] : [];
    const answer = { rcode, isAuthoritative: false, answers, authority: [] };
    await socket.send(encodeAnswer(query, answer, 1232), from).catch(() => {});
  }
}
