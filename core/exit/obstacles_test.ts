import { strict as assert } from "node:assert";
import { legacyObstacles, nftObstacles } from "./obstacles.ts";

function listing(...chains: object[]): string {
  return JSON.stringify({ nftables: [{ metainfo: {} }, ...chains.map((chain) => ({ chain }))] });
}

const FORWARD = { family: "ip", table: "filter", name: "FORWARD", hook: "forward", policy: "drop" };

Deno.test("nftObstacles() names chains of others that drop, with what to do about each", () => {
  const docker = { family: "ip", table: "filter", name: "DOCKER-USER" };
  assert.deepEqual(nftObstacles(listing(FORWARD, docker), "own", "tm0"), [{
    chain: "ip filter FORWARD",
    allow: "iptables -I DOCKER-USER -i tm0 -j ACCEPT && " +
      "iptables -I DOCKER-USER -o tm0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
  }]);
  const ufw = { family: "ip6", table: "filter", name: "ufw6-user-forward" };
  assert.deepEqual(nftObstacles(listing({ ...FORWARD, family: "ip6" }, ufw), "own", "tm0"), [
    { chain: "ip6 filter FORWARD", allow: "ufw route allow in on tm0" },
  ]);
  const other = { family: "inet", table: "fw", name: "f", hook: "forward", policy: "drop" };
  assert.deepEqual(nftObstacles(listing(other), "own", "tm0"), [
    { chain: "inet fw f", allow: 'nft insert rule inet fw f iifname "tm0" accept' },
  ]);
});

Deno.test("nftObstacles() says nothing of chains that accept, of other hooks and of our own", () => {
  const harmless = [
    { ...FORWARD, policy: "accept" },
    { ...FORWARD, hook: "input" },
    { ...FORWARD, table: "own" },
  ];
  assert.deepEqual(nftObstacles(listing(...harmless), "own", "tm0"), []);
});

Deno.test("legacyObstacles() reads the policy of FORWARD", () => {
  const text = "-P INPUT DROP\n-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n";
  const [found] = legacyObstacles(text, "iptables-legacy", "tm0");
  assert.equal(found!.chain, "iptables-legacy filter FORWARD");
  assert.ok(found!.allow.startsWith("iptables-legacy -I DOCKER-USER -i tm0 -j ACCEPT && "));
  const accepting = "-P INPUT DROP\n-P FORWARD ACCEPT\n";
  assert.deepEqual(legacyObstacles(accepting, "iptables-legacy", "tm0"), []);
});
