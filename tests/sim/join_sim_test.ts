import assert from "node:assert/strict";
import { toBase64Url } from "../../core/bytes.ts";
import { signRegistration } from "../../core/control/envelope.ts";
import { RecordVerifier } from "../../core/control/roster.ts";
import { identityFromSeed } from "../../core/identity/keys.ts";
import { decodeToken, formatCredential } from "../../core/identity/token.ts";
import { SeededRandom } from "../../core/random.ts";
import { Coordinator } from "./coordinator.ts";
import { World } from "./world.ts";

Deno.test("200 nodes of one name join, none shares name or address, and restarts change neither", () => {
  const coordinator = new Coordinator(new World(1), new RecordVerifier());
  const { token } = coordinator.service!.createToken({ reusable: true }, null, coordinator.moment)
    .reply;
  const identities = Array.from(
    { length: 200 },
    (_, i) => identityFromSeed(new SeededRandom(i + 1).bytes(32)),
  );
  const joinAll = (withToken: boolean) =>
    identities.map((identity) => {
      const service = coordinator.service!;
      const text = toBase64Url(identity.publicKey);
      const { challenge } = service.challenge({ identity: text }, coordinator.moment);
      const body = {
        challenge,
        identity: text,
        name: "pi",
        aliases: [],
        version: "0",
        time: 0,
        ...(withToken ? { token: formatCredential(decodeToken(token)) } : {}),
      };
      const { name, addresses } =
        service.register(signRegistration(identity, body), coordinator.moment).reply;
      return `${name} ${addresses.join(" ")}`;
    });
  const first = joinAll(true);
  for (const column of [0, 1, 2]) {
    const values = new Set(first.map((line) => line.split(" ")[column]));
    assert.equal(values.size, 200);
  }
  coordinator.kill();
  coordinator.start();
  assert.deepEqual(joinAll(false), first);
});
