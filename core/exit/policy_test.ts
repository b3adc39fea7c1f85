import { strict as assert } from "node:assert";
import { parsePrefix } from "../ip.ts";
import { parsePolicy } from "../policy/parse.ts";
import { MeshSubjects } from "../policy/subjects.ts";
import { exitPolicyOf } from "./policy.ts";

const [NAS, LAPTOP, GUEST] = ["0000000000000001", "0000000000000002", "0000000000000003"];
const LAN = parsePrefix("192.168.7.0/24")!;

function subjects(): MeshSubjects {
  const tree = {
    exits: [
      { offer: "node:nas", use: "everyone" },
      { offer: "everyone", use: "tag:untrusted", action: "deny" },
    ],
    routes: [{ prefix: "192.168.7.0/24", offer: "node:nas", use: "user:alice" }],
  };
  const { policy, problems } = parsePolicy([{ tree, where: () => "here" }]);
  assert.ok(policy, `${problems}`);
  return new MeshSubjects(policy, {
    users: [{ name: "alice", isAdmin: false }],
    nodes: [
      { id: NAS!, name: "nas", user: "alice", tags: [] },
      { id: LAPTOP!, name: "laptop", user: "alice", tags: [] },
      { id: GUEST!, name: "guest", user: null, tags: ["untrusted"] },
    ],
  });
}

Deno.test("exitPolicyOf() answers by the policy", () => {
  const all = subjects();
  const policy = exitPolicyOf(() => all);
  assert.ok(policy.mayOfferExit(NAS!) && !policy.mayOfferExit(LAPTOP!));
  assert.ok(policy.mayUseExit(LAPTOP!, NAS!) && !policy.mayUseExit(GUEST!, NAS!));
  assert.ok(!policy.mayUseExit(NAS!, LAPTOP!));
  assert.ok(policy.mayOfferRoute(NAS!, LAN) && !policy.mayOfferRoute(LAPTOP!, LAN));
  assert.ok(policy.mayUseRoute(LAPTOP!, NAS!, LAN) && !policy.mayUseRoute(GUEST!, NAS!, LAN));
  assert.ok(!policy.mayOfferRoute(NAS!, parsePrefix("192.168.0.0/16")!));
});

Deno.test("exitPolicyOf() allows nothing to strangers, and before there is a policy", () => {
  const all = subjects();
  assert.ok(!exitPolicyOf(() => all).mayUseExit("00000000000000ff", NAS!));
  const none = exitPolicyOf(() => null);
  assert.ok(!none.mayOfferExit(NAS!) && !none.mayUseExit(LAPTOP!, NAS!));
  assert.ok(!none.mayOfferRoute(NAS!, LAN) && !none.mayUseRoute(LAPTOP!, NAS!, LAN));
});
