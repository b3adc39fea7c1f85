/**
 * Golden texts of `status` and `peers` at 80 columns.
 * @module
 */
import assert from "node:assert/strict";
import type { PeerReport, StatusReport } from "../core/daemon/api_types.ts";
import { PEER, STATUS } from "./fake_daemon.ts";
import { visibleWidth } from "./format.ts";
import { Output } from "./output.ts";
import { PEER_COLUMNS, peerLines, peerRow, statusLines } from "./status_view.ts";

function output(columns: number | null = 80, isColor = false): Output {
  const nothing = () => {};
  return new Output({
    isJson: false,
    isColor,
    isErrorColor: false,
    columns,
    write: nothing,
    writeError: nothing,
  });
}

const IDLE: PeerReport = {
  ...PEER,
  name: "bob-the-builders-laptop",
  aliases: [],
  addresses: ["172.30.0.4"],
  isCoordinator: false,
  online: false,
  session: "down",
  link: "none",
  endpoint: null,
  candidates: [],
  rtt: null,
  loss: null,
  lastHandshakeAgeMs: null,
  bytesSent: 0,
  bytesReceived: 0,
};

const PEERS: PeerReport[] = [
  IDLE,
  { ...PEER, name: "zoe", endpoint: "[2001:db8:12:34::5678]:51820", isCoordinator: false },
  PEER,
  { ...IDLE, name: "carl", online: true },
  { ...IDLE, name: "dora", session: "handshaking" },
  { ...IDLE, name: "emil", session: "unreachable", lastHandshakeAgeMs: 7_500_000 },
];

function textOf(report: StatusReport): string {
  return [...statusLines(report, output())].join("\n");
}

Deno.test("statusLines() of a healthy node", () => {
  assert.equal(
    textOf(STATUS),
    `\
hub  172.30.0.3  fd5c:8a2f:91d3::3

Mesh         6f1d2c3b4a596877, this node is an admin
Ranges       172.30.0.0/16, fd5c:8a2f:91d3::/48
Interface    tun-mesh0, MTU 1420, UDP port 51820
Sealed by    libcrypto, offloads tso uso gso gro
Daemon       0.1.0, process 4242, up 2h 14m, context default
Coordinator  https://a.example.com:8443 connected for 2h 13m, rtt 11.2 ms (4s)
Names        answered on 172.30.0.3:53, set by systemd-resolved, others from
             192.0.2.53

1 peer, 1 with a session
PEER  PATH                          RTT       LOSS  KEYS  SENT  RECV
anna  udp 192.0.2.1:51820  12.4 ms (3s)  0.4% (9s)   41s  1.2M   34M`,
  );
});

Deno.test("statusLines() of a node in trouble, with paths that are too long", () => {
  const text = textOf({
    ...STATUS,
    isAdmin: false,
    peers: PEERS,
    coordinator: {
      ...STATUS.coordinator,
      state: "disconnected",
      sinceMs: 65_000,
      rtt: null,
      lastError: "connection refused",
    },
    dns: {
      mode: "resolv.conf",
      listen: "172.30.0.3:53",
      upstreams: [],
      repairs: [{ ageMs: 9e5, what: "x" }, { ageMs: 61_000, what: "y" }],
    },
    drops: { "no-route": 3, replay: 12, "no-rule": 2 },
    warnings: ["The clock is an hour off"],
  });
  assert.equal(
    text.slice(text.indexOf("Daemon")),
    `\
Daemon       0.1.0, process 4242, up 2h 14m, context default
Coordinator  https://a.example.com:8443 disconnected for 1m, connection refused
Names        answered on 172.30.0.3:53, set by /etc/resolv.conf, repaired 2
             times, last 1m ago
Dropped      replay 12, no-route 3, no-rule 2 (why: tunnelmesh filter trace PEER
             PORT)
Warning      The clock is an hour off

6 peers, 2 with a session
PEER           PATH                            RTT       LOSS   KEYS  SENT  RECV
anna           udp 192.0.2.1:51820    12.4 ms (3s)  0.4% (9s)    41s  1.2M   34M
bob-th…laptop  offline                           -          -      -     0     0
carl           idle                              -          -      -     0     0
dora           handshaking                       -          -      -     0     0
emil           unreachable                       -          -  2h 5m     0     0
zoe            udp [2001:…678]:51820  12.4 ms (3s)  0.4% (9s)    41s  1.2M   34M`,
  );
});

Deno.test("statusLines() stays within 80 columns in the table, with colours too", () => {
  const report = { ...STATUS, peers: PEERS };
  const lines = [...statusLines(report, output(80, true))];
  const table = lines.slice(lines.findIndex((line) => line.includes("PEER")));
  assert(table.every((line) => visibleWidth(line) <= 80));
  assert(table.some((line) => line.includes("\x1b[31munreachable")));
});

Deno.test("statusLines() cuts nothing when the output is no terminal", () => {
  const text = [...statusLines({ ...STATUS, peers: PEERS }, output(null))].join("\n");
  assert(text.includes("bob-the-builders-laptop"));
  assert(text.includes("udp [2001:db8:12:34::5678]:51820"));
});

Deno.test("statusLines() says what to do without peers", () => {
  assert.match(textOf({ ...STATUS, peers: [] }), /\nNo peers yet: `tunnelmesh token create`/);
});

Deno.test("the table of peers", () => {
  const out = output();
  const lines = out.table(PEER_COLUMNS, PEERS.map((peer) => peerRow(peer, out)));
  assert.equal(
    lines.join("\n"),
    `\
PEER             ADDRESS     STATE        ENDPOINT               RTT  ALSO NAMED
bob-the…-laptop  172.30.0.4  offline      -                        -
zoe              172.30.0.2  up           [2001:db…8]:51820  12.4 ms  www
anna             172.30.0.2  up           192.0.2.1:51820    12.4 ms  this, www
carl             172.30.0.4  idle         -                        -
dora             172.30.0.4  handshaking  -                        -
emil             172.30.0.4  unreachable  -                        -`,
  );
});

Deno.test("peerLines() tells everything of one peer", () => {
  assert.equal(
    [...peerLines(PEER, output())].join("\n"),
    `\
anna  172.30.0.2  fd5c:8a2f:91d3::2

State        up, connected to the coordinator
Path         udp 192.0.2.1:51820
Endpoints    192.0.2.1:51820, 10.0.0.4:51820
RTT          12.4 ms (3s)
Loss         0.4% (9s)
Handshake    41s ago
Agreed on    pieces, aes
Sent         1.2 MiB in 4000 packets
Received     34 MiB in 1 packet
Also named   www
Peer id      0123456789abcdef
WireGuard    xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=`,
  );
});
