import assert from "node:assert/strict";
import { formatPrefix, parsePrefix } from "../ip.ts";
import { kernelWish, type PlanSources } from "./exit_plans.ts";
import { NO_WISHES } from "./exit_wishes.ts";

function prefixes(...texts: string[]) {
  return texts.map((text) => parsePrefix(text)!);
}

const SOURCES: PlanSources = {
  context: "default",
  interfaceName: "tm0",
  udpPorts: [51820],
  tcpPorts: [2222],
  wishes: NO_WISHES,
  isHeld: false,
  subnets: [],
  endpoints: [],
  networks: {
    lan: prefixes("192.168.1.0/24"),
    containers: prefixes("172.17.0.0/16"),
    addresses: prefixes("192.168.1.2/32"),
  },
  meshRanges: prefixes("172.30.0.0/16", "fd00:1::/48"),
  otherMeshes: [],
};

Deno.test("kernelWish() asks nothing of the kernel where nothing is wanted", () => {
  const { client, subnets, server } = kernelWish(SOURCES);
  assert.deepEqual([client, server, subnets.rules, subnets.routes], [null, null, [], []]);
});

Deno.test("kernelWish() lets the LAN through on request, and always what stays on the machine", () => {
  const use = { ...NO_WISHES.use, exits: ["home"] };
  const seen = (wishes: Partial<typeof NO_WISHES>) => {
    const { client } = kernelWish({
      ...SOURCES,
      isHeld: true,
      wishes: { ...NO_WISHES, ...wishes },
    });
    return client!.settings.lanPrefixes.map(formatPrefix);
  };
  assert.deepEqual(seen({ use }), ["172.17.0.0/16"]);
  assert.deepEqual(seen({ use: { ...use, lan: true } }), ["192.168.1.0/24", "172.17.0.0/16"]);
  const routes = [{ prefix: "10.5.0.0/16", mapped: "10.77.0.0/16" }];
  assert.deepEqual(seen({ use, offer: { isExit: false, routes } }), [
    "172.17.0.0/16",
    "10.5.0.0/16",
  ]);
});

Deno.test("kernelWish() makes a gateway of an exit and of a router", () => {
  const server = (offer: typeof NO_WISHES.offer) =>
    kernelWish({ ...SOURCES, wishes: { ...NO_WISHES, offer } }).server;
  assert.deepEqual(server({ isExit: true, routes: [] })?.families, [4, 6]);
  const routes = [{ prefix: "10.5.0.0/16", mapped: "10.77.0.0/16" }];
  const router = server({ isExit: false, routes })!;
  assert.deepEqual(router.families, [4]);
  assert.deepEqual(
    router.settings.routes.map(({ lan, mapped, mayInitiate }) => {
      return [formatPrefix(lan), formatPrefix(mapped!), mayInitiate];
    }),
    [["10.5.0.0/16", "10.77.0.0/16", false]],
  );
});
