/**
 * A web server in the lab: `GET /BYTES` answers that many bytes of repeatable data.
 * Usage: serve_bulk.ts [PORT]
 * @module
 */
import { bulkBlocks } from "./bulk.ts";

Deno.serve({
  hostname: "::",
  port: Number(Deno.args[0] ?? 8080),
  onListen: ({ port }) => console.log(`listening on port ${port}`),
}, (request) => {
  const bytes = Number(new URL(request.url).pathname.slice(1));
  if (!Number.isSafeInteger(bytes) || bytes < 0) return new Response("no size", { status: 400 });
  const blocks = bulkBlocks(bytes);
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = blocks.next();
      if (next.done) controller.close();
      // A copy: the server may still be writing the last block when the next is made.
      else controller.enqueue(next.value.slice());
    },
  }, { highWaterMark: 2 });
  return new Response(body, { headers: { "content-length": `${bytes}` } });
});
