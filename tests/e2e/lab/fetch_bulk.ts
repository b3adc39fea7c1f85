/**
 * Downloads a URL in the lab and prints `{"bytes","sha256","ms"}` of what arrived.
 * Usage: fetch_bulk.ts URL
 * @module
 */
import { newBulkHash } from "./bulk.ts";

const start = performance.now();
const response = await fetch(Deno.args[0]!);
if (!response.ok) throw new Error(`Cannot download ${Deno.args[0]}: HTTP ${response.status}`);
const hash = newBulkHash();
let bytes = 0;
for await (const chunk of response.body!) {
  hash.update(chunk);
  bytes += chunk.length;
}
console.log(
  JSON.stringify({ bytes, sha256: hash.digest("hex"), ms: performance.now() - start }),
);
