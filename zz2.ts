import { UnixHttp } from "./cli/unix_http.ts";
const s = Deno.serve({ path: "/tmp/hp-try/k.sock", onListen() {} }, () => Response.json(1));
const c = await UnixHttp.connect("/tmp/hp-try/k.sock");
for (const wait of [0, 20, 70, 130]) {
  await new Promise((r) => setTimeout(r, wait * 1000));
  try { const r = await c.request("GET", "/"); for await (const _ of r.body); console.log(wait, r.status); } catch (e) { console.log(wait, String(e)); break; }
}
Deno.exit(0);
