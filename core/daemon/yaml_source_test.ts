/**
 * Does every wrong value of a YAML file get its line and column, and are the files of earlier
 * versions read?
 * @module
 */
import assert from "node:assert/strict";
import { exampleFile } from "../config/example.ts";
import { parsePeerConfig, parseServerConfig } from "../config/parse.ts";
import { PeerFile, ServerFile } from "../config/schema.ts";
import { MeshError } from "../errors.ts";
import { formatSubject } from "../policy/subject.ts";
import { yamlSource } from "./yaml_source.ts";

function peer(text: string) {
  return parsePeerConfig({ file: yamlSource({ name: "peer.yaml", text }), env: {}, flags: {} });
}

function server(text: string) {
  return parseServerConfig({ file: yamlSource({ name: "server.yaml", text }), env: {}, flags: {} });
}

/** A file with a filter rule that allows, and what else is given of it. */
function rule(fields: string): string {
  const inner = fields.replace(/^{ | }$/g, "");
  return `filter:\n  rules:\n    - { action: allow, ${inner} }\n`;
}

const WRONG: [about: string, text: string, message: RegExp][] = [
  [
    "an unknown key",
    "# first\nname: anna\ntun:\n  mtu: 1400\n  nam: x\n",
    /^Cannot use configuration: peer.yaml:5:3: unknown key "nam" in tun; did you mean "name"\?$/,
  ],
  ["a wrong value", "tun:\n  mtu: 30\n", /peer.yaml:2:3: tun.mtu must be at least 1280, not 30$/],
  [
    "an item of a list",
    "dns:\n  aliases:\n    - ok\n    - Not\n",
    /peer.yaml:4:7: dns.aliases\[1\]/,
  ],
  ["a flow sequence", "dns: {aliases: [ok, NOT]}\n", /peer.yaml:1:21: dns.aliases\[1\]/],
  [
    "problems in the order of lines",
    "b: 1\na: 1\n",
    /yaml:1:1: unknown key "b"\n.*yaml:2:1: .*"a"/,
  ],
  ["an open bracket", "name: anna\nservers: [a,\n", /^Cannot read configuration: peer.yaml:3:1: /],
  ["a tab", "dns:\n\tenabled: true\n", /peer.yaml:2:1: Tabs are not allowed/],
  ["a key twice", "name: a\nname: b\n", /peer.yaml:2:1: Map keys must be unique$/],
  ["a key without colon", "name anna\nudp_port: 1\n", /peer.yaml:1:1: /],
  ["a list at the top", "- name\n", /peer.yaml:1:1: the file must hold keys and values$/],
  ["text only", "hello\n", /peer.yaml:1:1: the file must hold keys and values$/],
  ["two documents", "name: a\n---\nname: b\n", /peer.yaml:2:1: /],
  ["an unknown tag", "name: !!python/object a\n", /peer.yaml:1:7: Unresolved tag/],
  ["an alias of nothing", "name: *none\n", /peer.yaml:1:7: Unresolved alias/],
  [
    "a filter rule's port",
    rule("port: 70000"),
    /peer.yaml:3:24: filter.rules\[0\].port must be a port \(22\)/,
  ],
  [
    "a filter rule's range",
    rule("port: 9-8"),
    /filter.rules\[0\].port must be a port .*, not "9-8"$/,
  ],
  [
    "a filter rule about nothing",
    rule("comment: x"),
    /filter.rules\[0\] must have a port or a protocol/,
  ],
  [
    "a filter rule with ICMP ports",
    rule("{ port: 1, protocol: icmp }"),
    /rules\[0\].port must be left out/,
  ],
  [
    "a filter rule with two sources",
    rule("{ port: 1, source_peer: a, source_tag: b }"),
    /filter.rules\[0\].source_tag cannot stand beside source_peer/,
  ],
  [
    "a filter rule without its source",
    rule("{ port: 1, source_peer: }"),
    /rules\[0\].source_peer must/,
  ],
  ["a filter rule's bad tag", rule("{ port: 1, source_tag: A! }"), /source_tag must be a name/],
  ["a filter rule's action", "filter:\n  rules:\n    - port: 1\n", /rules\[0\].action is missing/],
  ["a filter rule's key", rule("{ port: 1, source: a }"), /unknown key "source" in filter.rules/],
];

for (const [about, text, message] of WRONG) {
  Deno.test(`yamlSource() and the schema refuse ${about}`, () => {
    assert.throws(() => peer(text), (error) => {
      assert(error instanceof MeshError);
      assert.equal(error.code, "config-invalid");
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("yamlSource() refuses aliases that multiply", () => {
  const lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"];
  for (const [from, to] of ["ab", "bc", "cd", "de", "ef", "fg"].map((pair) => [...pair])) {
    lines.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(",")}]`);
  }
  assert.throws(() => peer(lines.join("\n")), /Excessive alias count/);
});

Deno.test("yamlSource() takes an empty file, comments and keys without values", () => {
  for (const text of ["", "# nothing\n", "tun:\nname:\ndns:\n  listen:\n"]) {
    assert.deepEqual(peer(text).config, peer("{}").config);
  }
});

Deno.test("a peer file of the seeds is read", () => {
  const { config, warnings, secretsInFile } = peer(`
name: "mynode"
server: "https://coord.example.com:8443"
auth_token: "tm2_token"
ssh_port: 2222
private_key: "~/.tunnelmesh/id_ed25519"
heartbeat_interval: 10s
metrics_enabled: true
metrics_port: 9443
control_socket: /var/run/tunnelmesh.sock
tun:
  name: "tun-mesh0"
  mtu: 1400
dns:
  enabled: true
  listen: "127.0.0.53:5353"
  cache_ttl: 300
  aliases: [webserver, api.mynode]
exit_node: "exit-peer-name"
allow_exit_traffic: false
location: { latitude: 51.5, longitude: -0.12, city: "London", country: "UK" }
wireguard: { enabled: true, listen_port: 51820, endpoint: "peer.example.com:51820" }
filter:
  rules:
    - { port: 80, protocol: tcp, action: allow }
    - { port: 3306, protocol: tcp, action: deny, source_peer: dev-node }
loki: { enabled: false, url: "http://127.0.0.1:3100" }
docker: { socket: "unix:///var/run/docker.sock", auto_port_forward: true }
`);
  assert.deepEqual(config.servers, ["https://coord.example.com:8443"]);
  assert.equal(config.identity, "~/.tunnelmesh/id_ed25519");
  assert.equal(config.mtu, 1400);
  assert.deepEqual(config.dns, {
    isEnabled: true,
    listen: { host: "127.0.0.53", port: 5353 },
    ttlSeconds: 5,
    aliases: ["webserver", "api.mynode"],
  });
  assert.deepEqual(config.exits.use.exits, ["exit-peer-name"]);
  assert.deepEqual(secretsInFile, ["auth_token"]);
  assert.deepEqual(
    config.filter.rules.map(({ action, protocol, ports, from, origin }) => [
      origin.where,
      action,
      protocol,
      ports,
      formatSubject(from),
    ]),
    [
      ["peer.yaml:25:7", "allow", "tcp", [{ first: 80, last: 80 }], "everyone"],
      ["peer.yaml:26:7", "deny", "tcp", [{ first: 3306, last: 3306 }], "node:dev-node"],
    ],
  );
  assert.deepEqual(warnings.map((warning) => warning.split(" ")[0]), [
    "heartbeat_interval",
    "location.latitude",
    "location.longitude",
    "location.city",
    "location.country",
    "wireguard.enabled",
    "docker.auto_port_forward",
  ]);
});

Deno.test("a peer file in the later shape, with a coordinator, is read", () => {
  const { config } = peer(`
name: hub
coordinator:
  enabled: true
  listen: ":8443"
  data_dir: /var/lib/tunnelmesh
  admin_peers: ["anna", "0123456789abcdef"]
  locations: false
  user_expiration_days: 270
  memberlist_seeds: []
  monitoring: { prometheus_url: "", grafana_url: "" }
  relay: {}
  wireguard_server: { enabled: false, endpoint: "" }
  s3: { data_dir: /s3, max_size: 1Gi, version_retention: { recent_days: 7 } }
  filter: { default_deny: false, rules: [] }
  service_ports: [9443]
  landing_page: /index.html
`);
  assert.equal(config.coordinator.isEnabled, true);
  assert.equal(config.coordinator.dataDir, "/var/lib/tunnelmesh");
});

Deno.test("a server file of the seeds is read", () => {
  const { config, warnings } = server(`
listen: ":8080"
auth_token: "0123456789abcdef"
mesh_cidr: "10.99.0.0/16"
domain_suffix: ".tunnelmesh"
data_dir: /data
locations: true
admin: { enabled: true, port: 443, bind_address: 127.0.0.1 }
relay: { enabled: true, pair_timeout: "90s" }
s3: { enabled: true }
wireguard: { enabled: true, endpoint: "server.example.com:51820" }
join_mesh:
  name: "server-node"
  ssh_port: 2222
  private_key: "/etc/tunnelmesh/peer.key"
  tun: { name: tun-mesh, mtu: 1400 }
  dns: { enabled: false }
  allow_exit_traffic: true
`);
  assert.deepEqual(config.coordinator.listen, { host: null, port: 8080 });
  assert.equal(config.coordinator.meshCidr, "10.99.0.0/16");
  assert.equal(config.joinMesh?.identity, "/etc/tunnelmesh/peer.key");
  assert.equal(config.joinMesh?.interfaceName, "tun-mesh");
  assert.equal(config.joinMesh?.dns.isEnabled, false);
  const keys = warnings.map((warning) => warning.split(" ")[0]);
  for (const key of ["locations", "admin.enabled", "relay.enabled", "s3.enabled", "auth_token"]) {
    assert(keys.includes(key), `no warning of ${key}`);
  }
  assert.equal(config.joinMesh?.exits.offer.isExit, true);
});

/** Removes the mark from every line \`#key: value\`, but for what excludes another key. */
function uncommented(text: string): string {
  return text.replace(/^ *#(source_group|source_tag|from): .*$/gm, "").replace(
    /^(\s*)#(?=\S)/gm,
    "$1",
  );
}

Deno.test("the file that init writes means the defaults, also with each key uncommented", () => {
  const node = exampleFile(PeerFile, { title: ["Title"], values: {} });
  assert.deepEqual(peer(node).config, peer("{}").config);
  const full = peer(uncommented(node)).config;
  assert.equal(full.name, "anna");
  assert.equal(full.wireguardPeers.length, 1);
  assert.deepEqual({ mtu: full.mtu, port: full.udpPort }, { mtu: 1420, port: 51820 });

  const coordinator = exampleFile(ServerFile, { title: ["Title"], values: {} });
  assert.deepEqual(server(coordinator).config, server("{}").config);
  assert.equal(server(uncommented(coordinator)).config.joinMesh?.name, "anna");
});
