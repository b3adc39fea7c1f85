/**
 * Whose home is it, and where do things live?
 * @module
 */
import assert from "node:assert/strict";
import { homeOf } from "./host.ts";
import {
  absolutePath,
  dataDir,
  identityPath,
  interfaceName,
  peerFiles,
  socketPath,
  stateDir,
} from "./paths.ts";
import { testHost } from "./testing_host.ts";

Deno.test("homeOf() reads passwd(5)", () => {
  const passwd = "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/sh\nbad:x:7\n";
  assert.equal(homeOf(passwd, 1000), "/home/anna");
  assert.equal(homeOf(passwd, 7), null);
  assert.equal(homeOf(passwd, 1), null);
});

Deno.test("paths of root and of a user", () => {
  const root = testHost({ home: "/home/anna", isRoot: true });
  const user = testHost({ home: "/home/anna" });
  assert.equal(stateDir(root, "office"), "/var/lib/tunnelmesh/office");
  assert.equal(stateDir(user, "office"), "/home/anna/.tunnelmesh/state/office");
  assert.equal(socketPath(root, "office"), "/run/tunnelmesh/office.sock");
  assert.equal(socketPath(user, "office"), "/home/anna/.tunnelmesh/state/office/daemon.sock");
  assert.equal(dataDir(root, "default"), "/var/lib/tunnelmesh/coordinator");
  assert.equal(dataDir(root, "office"), "/var/lib/tunnelmesh/office/coordinator");
  assert.equal(dataDir(user, "default"), "/home/anna/.tunnelmesh/coordinator");
  assert.equal(identityPath(user, "default"), "/home/anna/.tunnelmesh/id_ed25519");
  assert.equal(identityPath(user, "office"), "/home/anna/.tunnelmesh/id_ed25519-office");
  assert.equal(peerFiles(user, "default").at(-1), "/etc/tunnelmesh/peer.yaml");
});

Deno.test("interfaceName() gives each context its own, in 15 characters", () => {
  assert.equal(interfaceName("default"), "tun-mesh0");
  assert.equal(interfaceName("office"), "tun-office");
  assert.equal(interfaceName("a-very-long-context"), "tun-a-very-long");
});

const PATHS: [path: string, absolute: string][] = [
  ["~", "/home/anna"],
  ["~/x", "/home/anna/x"],
  ["x/y", "/base/x/y"],
  ["../x", "/x"],
  ["./a/./b//c", "/base/a/b/c"],
  ["/a/../b", "/b"],
  ["~other", "/base/~other"],
];

for (const [path, absolute] of PATHS) {
  Deno.test(`absolutePath() of ${path}`, () => {
    assert.equal(absolutePath(testHost({ home: "/home/anna" }), path, "/base"), absolute);
  });
}
