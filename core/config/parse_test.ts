/**
 * Do defaults, file, environment and flags win in that order, and is what is wrong named?
 *
 * Trees stand for files here; `core/daemon/yaml_source_test.ts` reads real YAML.
 * @module
 */
import assert from "node:assert/strict";
import { MeshError } from "../errors.ts";
import { NO_FILTER_CONFIG } from "../filter/written.ts";
import { parsePeerConfig, parseServerConfig } from "./parse.ts";
import type { FlagValue, Source, Tree } from "./source.ts";

const KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

function fileOf(tree: Tree): Source {
  return { tree, where: (path) => `file#${path.join("/")}`, namesSettings: false };
}

function peer(
  tree: Tree,
  env: Record<string, string> = {},
  flags: Record<string, FlagValue> = {},
) {
  return parsePeerConfig({ file: fileOf(tree), env, flags });
}

function problemOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert(error instanceof MeshError);
    assert.equal(error.code, "config-invalid");
    return error.message;
  }
  throw new Error("nothing was thrown");
}

Deno.test("parsePeerConfig() gives defaults when nothing is set", () => {
  const { config, warnings } = parsePeerConfig({ file: null, env: {}, flags: {} });
  assert.deepEqual(warnings, []);
  assert.equal(config.udpPort, 51820);
  assert.equal(config.mtu, 1420);
  assert.deepEqual(config.dns, { isEnabled: true, listen: null, ttlSeconds: 5, aliases: [] });
  assert.equal(config.logLevel, "info");
  assert.equal(config.coordinator.isEnabled, false);
  assert.deepEqual(config.coordinator.listen, { host: null, port: 8443 });
});

Deno.test("parsePeerConfig() lets flags win over environment, environment over file", () => {
  const tree = { name: "file", udp_port: 1, tun: { mtu: 1300, name: "tun-file" } };
  const env = { TUNNELMESH_NAME: "env", TUNNELMESH_TUN_MTU: "1400", HOME: "/root" };
  const { config } = peer(tree, env, { name: { flag: "--name", value: "flag" } });
  assert.equal(config.name, "flag");
  assert.equal(config.mtu, 1400);
  assert.equal(config.interfaceName, "tun-file");
  assert.equal(config.udpPort, 1);
});

Deno.test("parsePeerConfig() reads lists and switches from the environment", () => {
  const env = {
    TUNNELMESH_DNS_ALIASES: "www, api.anna",
    TUNNELMESH_DNS_ENABLED: "no",
    TUNNELMESH_COORDINATOR_ENABLED: "1",
    TUNNELMESH_TOKEN: " tm2_x\n",
    TUNNELMESH_LOG_LEVEL: "",
  };
  const { config, warnings } = peer({}, env);
  assert.deepEqual(config.dns.aliases, ["www", "api.anna"]);
  assert.equal(config.dns.isEnabled, false);
  assert.equal(config.coordinator.isEnabled, true);
  assert.equal(config.authToken, "tm2_x");
  assert.deepEqual(warnings, []);
});

Deno.test("parsePeerConfig() lets a token on the command line replace a token file below it", () => {
  const flags = { auth_token: { flag: "--token", value: "tm2_x" } };
  const { config } = peer({ auth_token_file: "/t" }, {}, flags);
  assert.equal(config.authToken, "tm2_x");
  assert.equal(config.authTokenFile, null);
});

Deno.test("parsePeerConfig() lets --server replace all servers of the file", () => {
  const tree = { server: "a", servers: ["b", "c"] };
  assert.deepEqual(peer(tree).config.servers, [
    "https://a:8443",
    "https://b:8443",
    "https://c:8443",
  ]);
  const flags = { server: { flag: "--server", value: "d:1" } };
  assert.deepEqual(peer(tree, {}, flags).config.servers, ["https://d:1"]);
});

Deno.test("parsePeerConfig() merges old spellings, in each source", () => {
  const { config } = peer({ private_key: "/old", mesh_cidr: "10.7.0.0/16" });
  assert.equal(config.identity, "/old");
  assert.equal(config.coordinator.meshCidr, "10.7.0.0/16");
  const flags = { identity: { flag: "--identity", value: "/new" } };
  assert.equal(peer({ private_key: "/old" }, {}, flags).config.identity, "/new");
});

Deno.test("parsePeerConfig() refuses an old spelling that contradicts the present one", () => {
  const problem = problemOf(() => peer({ identity: "/a", private_key: "/b" }));
  assert.match(problem, /file#private_key: private_key is another name of identity.*file#identity/);
});

Deno.test("parsePeerConfig() converts plain WireGuard peers", () => {
  const { config } = peer({
    wireguard_peers: [{
      name: "phone",
      public_key: KEY,
      allowed_ips: ["10.9.0.2", "fd00::/64"],
      endpoint: "vpn.example.com:51820",
      persistent_keepalive: 25,
    }],
  });
  const [phone] = config.wireguardPeers;
  assert.equal(phone?.publicKey.length, 32);
  assert.deepEqual(phone?.allowedIps, ["10.9.0.2/32", "fd00::/64"]);
  assert.equal(phone?.persistentKeepaliveMs, 25_000);
  assert.equal(phone?.presharedKey, null);
});

const WRONG: [about: string, tree: Tree, message: RegExp][] = [
  ["an unknown key", { nmae: "x" }, /file#nmae: unknown key "nmae"; did you mean "name"\?$/],
  ["a nested unknown key", { tun: { mut: 1 } }, /"mut" in tun; did you mean "mtu"\?$/],
  ["a key at the wrong place", { mtu: 1400 }, /unknown key "mtu"; did you mean "tun.mtu"\?$/],
  ["a key like none", { zzzz: 1 }, /unknown key "zzzz"$/],
  ["an unknown key in a list", {
    wireguard_peers: [{ name: "a", public_key: KEY, allowed_ips: ["::/0"], endpont: "a:1" }],
  }, /file#wireguard_peers\/0\/endpont: .*"endpont" in wireguard_peers; did you mean "endpoint"/],
  [
    "a missing value in a list",
    { wireguard_peers: [{ name: "a", public_key: KEY }] },
    /is missing/,
  ],
  ["text for a number", { udp_port: "x" }, /udp_port must be a number, not "x"$/],
  ["a fraction", { udp_port: 1.5 }, /udp_port must be a whole number, not 1.5$/],
  ["a port out of range", { udp_port: 70000 }, /must be a port from 1 to 65535, not 70000$/],
  ["text for a switch", { dns: { enabled: "yes" } }, /must be true or false, not "yes"$/],
  ["a value for a part", { dns: true }, /dns must be a part with keys of its own, not true$/],
  ["a word that is no choice", { log_level: "loud" }, /one of trace, debug, .*, not "loud"$/],
  ["an MTU that IPv6 cannot use", { tun: { mtu: 576 } }, /tun.mtu must be at least 1280, not 576$/],
  ["a name that is no label", { name: "Anna!" }, /name must be 1 to 63 letters/],
  ["plain http", { server: "http://a" }, /server must be an https URL.*plain http/],
  ["a range with host bits", { mesh_cidr: "10.0.0.1/8" }, /IPv4 range/],
  ["a long interface name", { tun: { name: "0123456789abcdef" } }, /1 to 15 characters/],
  ["a broken key", {
    wireguard_peers: [{ name: "a", public_key: "x", allowed_ips: ["::/0"] }],
  }, /wireguard_peers\[0\].public_key must be a WireGuard key/],
  ["several problems", { a: 1, b: 2 }, /unknown key "a"\n {2}file#b: unknown key "b"$/],
  ["a key of Object's prototype", JSON.parse('{"__proto__": {"x": 1}}'), /unknown key "__proto__"/],
];

for (const [about, tree, message] of WRONG) {
  Deno.test(`parsePeerConfig() refuses ${about}`, () => {
    assert.match(problemOf(() => peer(tree)), message);
  });
}

Deno.test("parsePeerConfig() never prints a secret", () => {
  const tree = {
    auth_token: "",
    wireguard_peers: [{
      name: "a",
      public_key: KEY,
      allowed_ips: ["::/0"],
      preshared_key: "hunter2",
    }],
  };
  assert(!problemOf(() => peer(tree)).includes("hunter2"));
});

Deno.test("parsePeerConfig() names the variable or option of a wrong value", () => {
  assert.match(
    problemOf(() => peer({}, { TUNNELMESH_UDP_PORT: "many" })),
    /: TUNNELMESH_UDP_PORT must be a number, not "many"$/,
  );
  const flags = { "tun.mtu": { flag: "--mtu", value: 30 } };
  assert.match(problemOf(() => peer({}, {}, flags)), /: --mtu must be at least 1280, not 30$/);
});

Deno.test("parsePeerConfig() warns of a variable that is nearly a setting", () => {
  const { warnings } = peer({}, { TUNNELMESH_UDP_PROT: "1", TUNNELMESH_TEST_X: "1" });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /TUNNELMESH_UDP_PROT.*did you mean TUNNELMESH_UDP_PORT\?/);
});

const UNAVAILABLE: [about: string, tree: Tree, keys: string[]][] = [
  ["a filter of the mesh", { coordinator: { filter: { rules: [{ port: 1 }] } } }, [
    "coordinator.filter.rules",
  ]],
  [
    "a part that is on, once",
    { wireguard: { enabled: true, listen_port: 1, mtu: 1300 } },
    ["wireguard.enabled"],
  ],
  ["nothing for a part that is off", { wireguard: { enabled: false, listen_port: 1 } }, []],
  ["nothing for defaults", { allow_exit_traffic: false, docker: {} }, []],
  ["another port of a missing part", { wireguard: { listen_port: 9500 } }, [
    "wireguard.listen_port",
  ]],
  ["a coordinator's S3", { coordinator: { s3: { max_size: "10Gi" } } }, [
    "coordinator.s3.max_size",
  ]],
];

for (const [about, tree, expected] of UNAVAILABLE) {
  Deno.test(`parsePeerConfig() warns of ${about}`, () => {
    const { warnings } = peer(tree);
    assert.deepEqual(warnings.map((warning) => warning.split(" ")[0]), expected);
  });
}

Deno.test("parsePeerConfig() reads filter rules as a policy does: a port alone is TCP and UDP", () => {
  const rules = [{ port: "80-81", action: "allow" }, {
    protocol: "any",
    action: "deny",
    from: "admins",
  }];
  const { isDefaultDeny, rules: read } = peer({ filter: { rules } }).config.filter;
  assert.equal(isDefaultDeny, true);
  assert.deepEqual(read.map(({ protocol, ports, from }) => [protocol, ports, from]), [
    ["any", [{ first: 80, last: 81 }], { kind: "group", name: "everyone" }],
    ["any", null, { kind: "group", name: "admins" }],
  ]);
  assert.equal(peer({ filter: { default_deny: false } }).config.filter.isDefaultDeny, false);
  assert.deepEqual(peer({}).config.filter, NO_FILTER_CONFIG);
});

Deno.test("parsePeerConfig() reads exits in each of their spellings, and routes", () => {
  const exits = (tree: Tree, env = {}) => peer(tree, env).config.exits;
  assert.deepEqual(exits({}), {
    use: { exits: [], onLoss: "block", lan: false },
    offer: { isExit: false, routes: [] },
  });
  for (const tree of [{ exit_node: "hub, nas" }, { exit_node: ["hub", "nas"] }]) {
    assert.deepEqual(exits(tree).use.exits, ["hub", "nas"]);
  }
  assert.deepEqual(exits({ exit_peer: "hub" }).use.exits, ["hub"]);
  assert.deepEqual(exits({}, { TUNNELMESH_EXIT_NODE: "hub,nas" }).use.exits, ["hub", "nas"]);
  const advertise_routes = ["192.168.7.0/24", "192.168.1.0/24 as 10.77.1.0/24"];
  assert.deepEqual(exits({ advertise_routes, allow_exit_traffic: true }).offer, {
    isExit: true,
    routes: [{ prefix: "192.168.7.0/24" }, { prefix: "192.168.1.0/24", mapped: "10.77.1.0/24" }],
  });
  assert.throws(() => peer({ advertise_routes: ["10.0.0.0/8 as 10.77.1.0/24"] }), /same length/);
  assert.throws(() => peer({ on_exit_loss: "panic" }), /on_exit_loss/);
});

Deno.test("parsePeerConfig() names the secrets that the file holds", () => {
  const { secretsInFile } = peer({ auth_token: "tm2_x" }, { TUNNELMESH_NAME: "a" });
  assert.deepEqual(secretsInFile, ["auth_token"]);
  assert.deepEqual(peer({}, { TUNNELMESH_TOKEN: "tm2_x" }).secretsInFile, []);
});

Deno.test("parseServerConfig() runs a node only with join_mesh, whatever the environment", () => {
  const env = { TUNNELMESH_TOKEN: "tm2_x", TUNNELMESH_IDENTITY: "/k", TUNNELMESH_NAME: "a" };
  const server = (tree: Tree) => parseServerConfig({ file: fileOf(tree), env, flags: {} });
  assert.equal(server({}).config.joinMesh, null);
  assert.equal(server({ join_mesh: { name: "hub" } }).config.joinMesh?.name, "hub");
  assert.deepEqual(server({}).warnings, []);
});
