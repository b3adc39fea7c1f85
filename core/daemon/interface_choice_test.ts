import assert from "node:assert/strict";
import { parsePrefix } from "../ip.ts";
import { aliasOf, meshInterfaces } from "../platform/linux/mesh_interfaces.ts";
import { chooseInterface, refuseClash } from "./interface_choice.ts";
import { keepPort, portToTry } from "./kept_port.ts";
import { StateDir } from "./state_dir.ts";

/** Interfaces by name, with their aliases. */
function machine(aliases: Record<string, string>) {
  const has = (name: string) => Object.hasOwn(aliases, name);
  return { has, alias: (name: string) => aliases[name] ?? "" };
}

async function withState(run: (state: StateDir) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "tunnelmesh-choice-" });
  try {
    using state = await StateDir.open(path, { exclusive: true });
    await run(state);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const WORK = { context: "work", name: "tun-work", isFixed: false };

Deno.test("chooseInterface() takes a free name and keeps it", () =>
  withState(async (state) => {
    const taken = machine({ "tun-work": "", "tun-work1": aliasOf("other") });
    assert.equal(await chooseInterface(state, WORK, taken), "tun-work2");
    assert.equal(await chooseInterface(state, WORK, machine({})), "tun-work2");
    // What is kept belongs to the name that was wanted.
    assert.equal(await chooseInterface(state, { ...WORK, name: "tun-x" }, machine({})), "tun-x");
  }));

Deno.test("chooseInterface() numbers long names within 15 characters", () =>
  withState(async (state) => {
    const wanted = { ...WORK, name: "tun-production-" };
    const taken = machine({ "tun-production-": "" });
    assert.equal(await chooseInterface(state, wanted, taken), "tun-production1");
  }));

Deno.test("chooseInterface() never replaces a name that the user chose", () =>
  withState(async (state) => {
    const fixed = { ...WORK, isFixed: true };
    assert.equal(await chooseInterface(state, fixed, machine({ "tun-work": "" })), "tun-work");
  }));

Deno.test("chooseInterface() waits for the interface of a killed daemon to go", () =>
  withState(async (state) => {
    let looks = 0;
    const vanishing = { has: () => ++looks < 3, alias: () => aliasOf("work") };
    assert.equal(await chooseInterface(state, WORK, vanishing), "tun-work");
  }));

Deno.test("refuseClash() names the context that has the addresses", () => {
  const home = {
    context: "home",
    name: "tun-mesh0",
    addresses: ["172.30.0.2"],
    prefixes: [parsePrefix("172.30.0.0/16")!, parsePrefix("fd00:1::/48")!],
  };
  const ranges = (...texts: string[]) => texts.map((text) => parsePrefix(text)!);
  refuseClash("work", ranges("172.29.0.0/16", "fd00:2::/48"), [home]);
  for (const range of ["172.30.0.0/16", "172.16.0.0/12", "172.30.7.0/24"]) {
    assert.throws(
      () => refuseClash("work", ranges(range, "fd00:2::/48"), [home]),
      /context "home" \(tun-mesh0\) has the addresses/,
    );
  }
});

Deno.test("meshInterfaces() finds contexts by the alias of their interface", () => {
  const listed = [
    { name: "eth0", address: "192.0.2.7", cidr: "192.0.2.7/24" },
    { name: "tun-work", address: "172.29.0.2", cidr: "172.29.0.2/16" },
    { name: "tun-work", address: "fd00:2::7", cidr: "fd00:2::7/48" },
    { name: "tun-work", address: "fe80::1", cidr: "fe80::1/64" },
  ];
  const aliases = new Map([["tun-work", `${aliasOf("work")}\n`], ["eth0", "uplink\n"]]);
  assert.deepEqual(meshInterfaces(listed, (name) => aliases.get(name) ?? ""), [{
    context: "work",
    name: "tun-work",
    addresses: ["172.29.0.2", "fd00:2::7"],
    prefixes: [parsePrefix("172.29.0.0/16"), parsePrefix("fd00:2::/48")],
  }]);
});

Deno.test("a port that was found is tried again while the same one is wanted", () =>
  withState(async (state) => {
    assert.equal(await portToTry(state, "port.json", 2222), 2222);
    await keepPort(state, "port.json", { wanted: 2222, bound: 2222 });
    assert.equal(await state.readText("port.json"), null);
    await keepPort(state, "port.json", { wanted: 2222, bound: 40_000 });
    assert.equal(await portToTry(state, "port.json", 2222), 40_000);
    assert.equal(await portToTry(state, "port.json", 2200), 2200);
    await keepPort(state, "port.json", { wanted: 2222, bound: 2222 });
    assert.equal(await portToTry(state, "port.json", 2222), 2222);
  }));
