import assert from "node:assert/strict";
import { MeshError } from "../../core/errors.ts";
import { allocate, poolOf } from "./ipam.ts";

const POOLS: [cidr4: string, first: string, size: number][] = [
  ["172.30.0.0/16", "172.30.0.1", 65_534],
  ["10.0.0.0/8", "10.0.0.1", 16_777_214],
  ["192.168.1.0/24", "192.168.1.1", 254],
  ["192.168.1.4/30", "192.168.1.5", 2],
];

Deno.test("poolOf() leaves network and broadcast address out", () => {
  for (const [cidr4, first, size] of POOLS) {
    const pool = poolOf(cidr4);
    assert.equal(pool.size, size, cidr4);
    assert.equal(allocate(pool, new Set()), first);
  }
});

Deno.test("poolOf() refuses what cannot hold a mesh", () => {
  for (const cidr4 of ["10.0.0.0/31", "10.0.0.1/24", "0.0.0.0/0", "fd00::/48", "x", "10.0.0.0"]) {
    assert.throws(
      () => poolOf(cidr4),
      (error) => error instanceof MeshError && error.code === "config-invalid",
      cidr4,
    );
  }
});

Deno.test("allocate() takes the lowest free address, crosses octets, and ends", () => {
  const pool = poolOf("10.1.0.0/23");
  const leased = new Set<string>();
  for (let i = 0; i < pool.size; i++) leased.add(allocate(pool, leased));
  assert.equal(leased.size, 510);
  assert.ok(leased.has("10.1.0.255") && leased.has("10.1.1.0"));
  assert.ok(!leased.has("10.1.0.0") && !leased.has("10.1.1.255"));
  assert.throws(
    () => allocate(pool, leased),
    (error) => error instanceof MeshError && error.code === "address-pool-exhausted",
  );
  leased.delete("10.1.0.77");
  assert.equal(allocate(pool, leased), "10.1.0.77");
});
