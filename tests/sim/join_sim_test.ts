import assert from "node:assert/strict";
import { RecordVerifier } from "../../core/control/roster.ts";
import { identityFromSeed } from "../../core/identity/keys.ts";
import type { JoinToken } from "../../core/identity/token.ts";
import { SeededRandom } from "../../core/random.ts";
import { TOKEN_SECRET, tokenBody } from "./admin.ts";
import { signAll } from "../../core/state/log.ts";
import { Coordinator } from "./coordinator.ts";
import { appendLog, joinMesh, readLog } from "./membership.ts";
import { World } from "./world.ts";

Deno.test("200 nodes of one name join, none shares name or address, and restarts change neither", () => {
  const world = new World(1);
  const coordinator = new Coordinator(world, new RecordVerifier());
  const { log } = coordinator.mesh;
  const identities = Array.from(
    { length: 200 },
    (_, i) => identityFromSeed(new SeededRandom(i + 1).bytes(32)),
  );
  const join = (number: number, secret: Uint8Array | null) => {
    const token: JoinToken | null = secret &&
      { caPin: new Uint8Array(32), meshId: log.meshId, secret };
    const applicant = { coordinator, identity: identities[number]!, name: "pi" };
    const { reply } = joinMesh(applicant, { token, membership: null }, world.wallTime);
    return `${reply.name} ${reply.addresses.join(" ")}`;
  };
  const [admin] = identities;
  const first = [join(0, coordinator.mesh.firstSecret("node"))];
  const body = tokenBody(TOKEN_SECRET, admin!.peerId);
  const known = readLog({ coordinator, identity: admin! }, log.meshId, null);
  appendLog({ coordinator, identity: admin! }, signAll(known, admin!, [body], world.wallTime));
  for (let number = 1; number < identities.length; number++) first.push(join(number, TOKEN_SECRET));
  for (const column of [0, 1, 2]) {
    const values = new Set(first.map((line) => line.split(" ")[column]));
    assert.equal(values.size, 200);
  }
  coordinator.kill();
  coordinator.start();
  assert.deepEqual(identities.map((_, number) => join(number, null)), first);
});
