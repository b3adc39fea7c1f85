import assert from "node:assert/strict";
import { PathAgent } from "../../core/path/agent.ts";
import { Anonymiser } from "../../core/path/anonymise.ts";
import { type Recording, replay } from "../../core/path/recorder.ts";
import type { Host } from "./host.ts";
import { NAT_KINDS } from "./internet.ts";
import { NatPair } from "./nat_pair.ts";

const MTU = 1420;
/** The seed draws ports, and is in the snapshot; a fresh agent's own does not matter. */
function make(): PathAgent {
  return new PathAgent({ mtu: MTU, seed: 1 });
}

Deno.test("a recording replays to the same state, anonymised to the same decisions", () => {
  for (let seed = 1; seed <= 12; seed++) {
    const kinds = [NAT_KINDS[seed % NAT_KINDS.length]!, NAT_KINDS[seed * 5 % NAT_KINDS.length]!];
    using pair = new NatPair([kinds[0]!, kinds[1]!], { seed });
    pair.waitForRelay();
    pair.talk(8_000, 100);
    const [site] = pair.places;
    site.site.udp = false;
    pair.talk(6_000, 100);
    site.site.udp = true;
    for (const nat of site.nats) nat.reboot();
    // Longer than a stretch, so that the second begins with a snapshot in mid-history.
    pair.mesh.world.run(180_000);
    pair.talk(15_000, 100);
    for (const host of [pair.a, pair.b]) check(host, `seed ${seed}, ${host.name}`);
  }
});

function check(host: Host, where: string): void {
  const { recording } = host.node;
  assert.ok(recording.stretches.length === 2, where);
  const last = recording.stretches.at(-1)!;
  const agent = make();
  agent.restore(last.snapshot);
  for (const { at, event } of last.entries) agent.handle(event, at);
  assert.equal(agent.snapshot(), host.node.paths.snapshot(), where);

  const decisions = replay(recording, make);
  assert.ok(decisions.some(({ effect }) => effect.type === "use-path"), where);
  const anonymiser = new Anonymiser("salt", ["n0", "n1"]);
  const anonymous: Recording = anonymiser.value(recording);
  const text = JSON.stringify(anonymous);
  for (const secret of ["198.18.1.1", "198.18.2.1", "192.168.1.2", host.reply.id]) {
    assert.ok(secret.startsWith("198.18") || !text.includes(secret), `${where}: ${secret}`);
  }
  assert.deepEqual(replay(anonymous, make), anonymiser.value(decisions), where);
}
