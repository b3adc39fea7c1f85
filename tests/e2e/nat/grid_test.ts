/**
 * Every kind of site against every kind: real nodes, real routers, and which path a pair has.
 *
 * `UPDATE_DOCS=1` writes the table of what was seen into docs/nat.md.
 * @module
 */
import { strict as assert } from "node:assert";
import type { LinkKind } from "../../../core/daemon/api_types.ts";
import { ROOT } from "../lab/netns.ts";
import type { Node } from "../lab/node.ts";
import { SITE_KIND_NAMES, SITE_KINDS, type SiteKind } from "./kinds.ts";
import { type World, worldTest } from "./world.ts";

/** Kinds that are there twice: two of the others say nothing new. */
const TWINS: readonly SiteKind[] = ["port-restricted", "cgnat", "symmetric", "udp-blocked"];
/** How long each pair has light traffic, and so to find its path. */
const TRAFFIC_SECONDS = 25;
/** Two dozen nodes make a small machine busy, and busy relays drop what is old. */
const LEAST_ANSWERED = 0.5;
/** How often the paths are looked at: a busy machine makes one look bad for a moment. */
const ROUNDS = 6;
const POLL_MS = 1_000;

/** Two nodes that talk, the first one's name before the other's in the table. */
interface Pair {
  readonly from: Node;
  readonly to: Node;
  readonly kinds: readonly [SiteKind, SiteKind];
}

/** What was seen of a pair. */
interface Seen {
  /** As each end says. */
  readonly links: readonly [LinkKind, LinkKind];
  readonly rttMs: number;
}

worldTest({
  name: "every pair of kinds of site carries traffic, by the path that the rule says",
  run: async (world) => {
    await Promise.all([
      ...SITE_KIND_NAMES.map((kind) => world.joinAt(kind, kind)),
      ...TWINS.map((kind) => world.joinAt(kind, `${kind}-2`)),
    ]);
    const pairs = pairsOf(world);
    const traffic = pingAll(pairs, ["-i", "0.5", "-w", `${TRAFFIC_SECONDS}`]);
    await waitForPaths(pairs);
    for (const [pair, { sent, received }] of await traffic) {
      const share = received / sent;
      assert.ok(share >= LEAST_ANSWERED, `${titleOf(pair)}: ${received} of ${sent} answered`);
    }
    let seen = await look(pairs);
    for (let round = 1; round < ROUNDS && wrongOf(seen).length > 0; round++) {
      seen = await look(pairs);
    }
    assert.deepEqual(wrongOf(seen), []);
    if (Deno.env.get("UPDATE_DOCS") === "1") await updateDocs(pairs, seen);
  },
});

/** Which paths the pairs have, and how long they are, with little traffic. */
async function look(pairs: readonly Pair[]): Promise<Map<Pair, Seen>> {
  const quiet = await pingAll(pairs, ["-i", "0.2", "-c", "10"]);
  const seen = pairs.map(async (pair): Promise<[Pair, Seen]> => {
    return [pair, { links: await linksOf(pair), rttMs: quiet.get(pair)!.leastMs }];
  });
  return new Map(await Promise.all(seen));
}

/** Pairs that are not reached as the rule says. */
function wrongOf(seen: ReadonlyMap<Pair, Seen>): string[] {
  return [...seen].filter(([pair, { links }]) => !isAsExpected(pair, links))
    .map(([pair, { links }]) => `${titleOf(pair)}: ${links}`);
}

/** Each kind with those before it, and some with themselves. */
function pairsOf(world: World): Pair[] {
  return SITE_KIND_NAMES.flatMap((kind, i) => [
    ...SITE_KIND_NAMES.slice(0, i).map((other): Pair => ({
      from: world.node(kind),
      to: world.node(other),
      kinds: [kind, other],
    })),
    ...TWINS.filter((twin) => twin === kind).map((): Pair => ({
      from: world.node(kind),
      to: world.node(`${kind}-2`),
      kinds: [kind, kind],
    })),
  ]);
}

/** The paths that two kinds may have. */
function expectedLinks(one: SiteKind, other: SiteKind): LinkKind[] {
  const [a, b] = [SITE_KINDS[one], SITE_KINDS[other]];
  if (!a.udp || !b.udp) return canDial(one, other) || canDial(other, one) ? ["ssh"] : ["relay"];
  const isStable = (traits: typeof a | typeof b) =>
    traits.mapping === "none" || traits.mapping === "endpoint-independent";
  if (isStable(a) && isStable(b)) return ["udp"];
  const stable = [a, b].find(isStable);
  if (!stable) return ["relay"];
  // Where only known endpoints get in, a search may find a way, or not.
  return stable.filtering === "address-and-port-dependent" ? ["udp", "relay"] : ["udp"];
}

/** Whether a machine of one kind can open TCP connections to any port of one of another. */
function canDial(from: SiteKind, to: SiteKind): boolean {
  return to === "public" && from !== "only-443";
}

function isAsExpected({ kinds }: Pair, links: Seen["links"]): boolean {
  const expected = expectedLinks(...kinds);
  return links.every((link) => expected.includes(link));
}

/** What each end says of its path to the other. */
async function linksOf({ from, to }: Pair): Promise<Seen["links"]> {
  const [there, back] = await Promise.all([from.mustStatus(), to.mustStatus()]);
  const find = (status: typeof there, name: string) =>
    status.peers.find((peer) => peer.name === name)?.link ?? "none";
  return [find(there, to.name), find(back, from.name)];
}

/** Waits, while there is traffic, until nothing is left to hope for. */
async function waitForPaths(pairs: readonly Pair[]): Promise<void> {
  const end = performance.now() + TRAFFIC_SECONDS * 1_000;
  while (performance.now() < end) {
    const links = await Promise.all(pairs.map(linksOf));
    const isBest = (pair: Pair, i: number) => {
      const [best] = expectedLinks(...pair.kinds);
      return links[i]!.every((link) => link === best);
    };
    if (pairs.every(isBest)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What `ping` counted for a pair. */
interface Counts {
  readonly sent: number;
  readonly received: number;
  readonly leastMs: number;
}

/** How often a ping is tried: a resolver that is too busy may not answer in time. */
const TRIES = 5;

/** All pairs ping by name at once. */
async function pingAll(
  pairs: readonly Pair[],
  flags: readonly string[],
): Promise<Map<Pair, Counts>> {
  const results = pairs.map(async (pair) => [pair, await pingPair(pair, flags)] as const);
  return new Map(await Promise.all(results));
}

async function pingPair(pair: Pair, flags: readonly string[]): Promise<Counts> {
  const command = ["ping", "-n", "-q", ...flags, `${pair.to.name}.mesh`];
  let output = "";
  for (let tries = 0; tries < TRIES; tries++) {
    const { stdout, stderr } = await pair.from.machine.run(command);
    output = stdout + stderr;
    const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
    const leastMs = Number(/min\/avg\/max\/mdev = ([\d.]+)/.exec(stdout)?.[1]);
    if (counts && leastMs > 0) {
      return { sent: Number(counts[1]), received: Number(counts[2]), leastMs };
    }
  }
  throw new Error(`${titleOf(pair)} has no traffic:\n${output}`);
}

function titleOf({ kinds }: Pair): string {
  return kinds.join(" - ");
}

/** Puts the table into the documentation. */
async function updateDocs(
  pairs: readonly Pair[],
  seen: ReadonlyMap<Pair, Seen>,
): Promise<void> {
  const rows = SITE_KIND_NAMES.map((kind) => {
    const cells = SITE_KIND_NAMES.map((other) => {
      const pair = pairs.find(({ kinds }) => kinds[0] === kind && kinds[1] === other);
      return pair ? textOf(pair, seen.get(pair)!) : "";
    });
    return `| ${[kind, ...cells].join(" | ")} |`;
  });
  const table = [
    `|  | ${SITE_KIND_NAMES.join(" | ")} |`,
    `| --- |${" --- |".repeat(SITE_KIND_NAMES.length)}`,
    ...rows,
  ].join("\n");
  const about =
    `Paths after ${TRAFFIC_SECONDS} s of light traffic, and the shortest of ten round ` +
    "trips in milliseconds. All machines are on one computer, so the figures say what the " +
    "programs cost.";
  const ignored = ["<!-- deno-fmt-ignore-start -->", "<!-- deno-fmt-ignore-end -->"] as const;
  const body = [ignored[0], table, about, ignored[1]].join("\n\n");
  const path = `${ROOT}/docs/nat.md`;
  const [start, end] = ["<!-- laboratory -->", "<!-- /laboratory -->"];
  const text = await Deno.readTextFile(path);
  const [before, rest] = text.split(start) as [string, string];
  const after = rest.split(end)[1]!;
  await Deno.writeTextFile(path, `${before}${start}\n\n${body}\n\n${end}${after}`);
}

function textOf({ kinds }: Pair, { links, rttMs }: Seen): string {
  const isSearched = expectedLinks(...kinds).length > 1;
  const words: Partial<Record<LinkKind, string>> = { udp: isSearched ? "search" : "direct" };
  const said = [...new Set(links)].map((link) => words[link] ?? link).join("/");
  return `${said} ${rttMs.toFixed(1)}`;
}
