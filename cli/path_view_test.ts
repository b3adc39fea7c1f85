import assert from "node:assert/strict";
import type { NetcheckReport, PathReport, WhyReport } from "../core/daemon/api_types.ts";
import { UNKNOWN_NAT } from "../core/path/nat.ts";
import { DEFAULT_PREFERENCE } from "../core/path/peer_paths.ts";
import { Output } from "./output.ts";
import { netcheckLines, whyLines } from "./path_view.ts";

const OWN: NetcheckReport = {
  local: ["192.168.1.7:51820"],
  nat: { ...UNKNOWN_NAT, udp: true, mapped: ["198.51.100.9:51820"], rttMs: 12.3 },
  natText: "behind a NAT with endpoint-independent mapping",
  portMap: {
    state: "mapped",
    protocol: "pcp",
    external: "198.51.100.9:51820",
    gateway: "192.168.1.1",
    lastError: null,
    tried: [{ protocol: "pcp", result: "mapped" }],
  },
  pinhole: {
    state: "open",
    protocol: "upnp",
    endpoint: "[2001:db8::7]:51820",
    gateway: "fe80::1",
    lastError: null,
    tried: [{ protocol: "pcp", result: "no answer" }, { protocol: "upnp", result: "open" }],
  },
  observed: ["198.51.100.9:51820"],
  links: { relays: false, sshPort: 2222 },
  relays: [
    { name: "a.example.com:8443", isUp: true, rttMs: 31, lastError: null },
    { name: "b.example.com:8443", isUp: false, rttMs: null, lastError: "connection refused" },
  ],
};

const PATH: PathReport = {
  path: "relay:a.example.com:8443",
  kind: "relay",
  state: "up",
  role: "current",
  isReflexive: false,
  rttMs: 40.1,
  jitterMs: 2,
  loss: 0,
  mtu: null,
  pingsSent: 9,
  pongsReceived: 9,
  lastAnswerAgeMs: 100,
  lastError: null,
};

const WHY: WhyReport = {
  peer: "nas",
  address: "172.30.0.9",
  online: true,
  session: "up",
  current: PATH.path,
  kind: "relay",
  verdict: "nas is reached through a relay: no ping on a direct path was answered",
  advice: ["Let UDP out of the peer's network, to any port"],
  paths: [PATH, {
    ...PATH,
    path: "198.51.100.77:51820",
    kind: "udp",
    state: "failed",
    role: "none",
    rttMs: null,
    loss: 1,
    pongsReceived: 0,
    lastError: "no answer to 6 pings",
  }],
  own: OWN,
  peerNat: null,
  peerNatText: null,
  peerEndpoints: [],
  preference: DEFAULT_PREFERENCE,
};

/** Text as on a terminal that is so wide and has no colours. */
function textOf(lines: (out: Output) => Iterable<string>, columns = 100): string {
  const out = new Output({
    isJson: false,
    isColor: false,
    isErrorColor: false,
    columns,
    write: () => {},
    writeError: () => {},
  });
  return [...lines(out)].join("\n");
}

Deno.test("whyLines() says the verdict first, then advice, paths and both NATs", () => {
  const text = textOf((out) => whyLines(WHY, out));
  assert.match(text, /^nas is reached through a relay/);
  assert.match(text, /\n- Let UDP out/);
  assert.match(text, /relay:a\.example\.com:8443 +in use +40\.1 ms +0% +- +9\/9/);
  assert.match(text, /198\.51\.100\.77:51820 +failed +- +100% +- +0\/9 +no answer to 6 pings/);
  assert.match(text, /This node +behind a NAT/);
  assert.match(text, /nas +has not told yet/);
});

Deno.test("whyLines() keeps to a terminal of 80 columns", () => {
  for (const line of textOf((out) => whyLines(WHY, out), 80).split("\n")) {
    assert.ok(line.length <= 80, line);
  }
});

Deno.test("netcheckLines() names each thing once, relays with their trouble", () => {
  const text = textOf((out) => netcheckLines(OWN, out));
  assert.match(text, /UDP +works, 12\.3 ms/);
  assert.match(text, /Seen as +198\.51\.100\.9:51820\n/);
  assert.match(text, /Router +gave 198\.51\.100\.9:51820 by pcp/);
  assert.match(text, /Firewall +lets UDP in to \[2001:db8::7\]:51820, asked by upnp/);
  assert.match(text, /a\.example\.com:8443: up, 31\.0 ms/);
  assert.match(text, /b\.example\.com:8443: connection refused/);
});
