import assert from "node:assert/strict";
import type { NatFiltering } from "../../core/path/nat.ts";
import { NAT_KINDS } from "./internet.ts";
import { natKind } from "./internet.ts";
import { NatPair } from "./nat_pair.ts";

/** What a server at one address can tell: not whether another address would get in. */
function seen(filtering: NatFiltering, mapping: string): NatFiltering {
  if (filtering !== "endpoint-independent") return filtering;
  return mapping === "none" ? "none" : "address-dependent";
}

for (const kind of NAT_KINDS) {
  Deno.test(`NatDiscovery finds out what ${kind.name} is`, () => {
    for (let seed = 1; seed <= 5; seed++) {
      using pair = new NatPair([kind, natKind("public")], { seed });
      pair.mesh.network.weather.loss = seed === 5 ? 0.1 : 0;
      pair.mesh.world.run(5_000);
      const { report } = pair.a.paths.nat;
      const { mapping, filtering } = kind.expected;
      assert.equal(report.mapping, mapping, `seed ${seed}`);
      // What was lost may pass for filtered; the other way round nothing may.
      if (seed === 5) continue;
      const isMapped = kind.name === "port-mapped";
      const expected = isMapped ? "address-dependent" : seen(filtering, mapping);
      assert.equal(report.filtering, expected, `seed ${seed}`);
      assert.equal(report.udp, mapping !== "unknown");
    }
  });
}

for (const kind of NAT_KINDS) {
  Deno.test(`NatDiscovery tells all of ${kind.name} with a server at two addresses`, () => {
    for (let seed = 1; seed <= 3; seed++) {
      using pair = new NatPair([kind, natKind("public")], { seed, stunAddress: "198.51.100.77" });
      pair.mesh.world.run(6_000);
      const { mapping, filtering } = pair.a.paths.nat.report;
      const { expected } = kind;
      const open = expected.mapping === "none" ? "none" : "endpoint-independent";
      const isOpen = expected.filtering === "endpoint-independent";
      assert.deepEqual(
        { mapping, filtering },
        { mapping: expected.mapping, filtering: isOpen ? open : expected.filtering },
        `seed ${seed}`,
      );
    }
  });
}

Deno.test("NatDiscovery notices other ports after a NAT has restarted", () => {
  using pair = new NatPair([natKind("port-restricted"), natKind("public")], { seed: 3 });
  pair.mesh.world.run(5_000);
  const before = pair.a.paths.nat.report.mapped[0];
  pair.places[0].nats.forEach((nat) => nat.reboot());
  pair.mesh.world.run(40_000);
  const after = pair.a.paths.nat.report.mapped[0];
  assert.ok(after !== undefined && after !== before, `${before} then ${after}`);
});

Deno.test("NatDiscovery counts the steps of a NAT that counts its ports", () => {
  using pair = new NatPair([natKind("symmetric-sequential"), natKind("public")], { seed: 2 });
  pair.mesh.world.run(5_000);
  const { portDelta } = pair.a.paths.nat.report;
  assert.ok(portDelta !== null && portDelta > 0 && portDelta < 16, `${portDelta}`);
});
