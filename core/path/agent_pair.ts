/**
 * Two path agents with everything between them that goes wrong, for tests: what they send arrives,
 * late or never, while addresses, links, relays and sessions come and go.
 * @module
 */
import type { Millis } from "../machine.ts";
import { PathAgent, type PathEffect, type PathEvent } from "./agent.ts";
import type { Offer } from "./messages.ts";
import { UNKNOWN_NAT } from "./nat.ts";
import { Recorder, type StretchLimits } from "./recorder.ts";

/** What happens next, by two numbers: which kind of thing, and which one of its kind. */
export type Step = readonly [kind: number, choice: number];

/** Addresses of every kind; a path may lead to any of them. */
const ENDPOINTS = [
  "8.8.4.4:4000",
  "8.8.8.8:4000",
  "10.1.2.3:51820",
  "172.20.1.1:51820",
  "192.168.7.9:51820",
  "100.99.1.2:1024",
  "169.254.7.7:9",
  "[2a00:1450::1]:51820",
  "[2a00:1450::ffff:808:808]:51820",
  "[fd12:3456::7]:51820",
  "[fe80::aa]:51820",
];
/** A relay may have a name, an address, or be called as something else is. */
const LINKS = [
  "ssh",
  "relay:mesh.secret.org:8443",
  "relay:[2a00:1450::9]:443",
  "relay:9.9.9.9:443",
  "relay:better:443",
];
const WHYS = [
  "",
  "Cannot reach mesh.secret.org:8443 at 9.9.9.9: refused by nas",
  "the path failed",
  "better than nas",
  "2a00:1450::9 is gone.",
];
const MAPPINGS = ["endpoint-independent", "address-and-port-dependent", "none"] as const;
const PREFERENCES = [
  { order: ["udp", "ssh", "node", "relay"], exclude: [] },
  { order: ["relay", "udp"], exclude: [] },
  { order: ["udp"], exclude: ["ssh"] },
  { order: ["node", "ssh"], exclude: ["udp"] },
] as const;
/** Words that the agent says and that a node may be called, and a true secret. */
export const NAMES = ["nas", "relay", "ping", "better", "no", "path", "failed", "ssh", "type"];
/** What no anonymised recording of a pair may hold. */
export const SECRETS = ["mesh.secret.org", "8.8.8.8", "8.8.4.4", "2a00:1450", "172.20.1.1", "nas"];

const RELAY = "00000000000000cc";
const PEERS = ["00000000000000aa", "00000000000000bb"];
/** Slots of the other agent and of a node that may pass datagrams on. */
const OTHER = 0;
const THIRD = 1;
const LATENCY_MS = 20;

interface Flight {
  readonly at: Millis;
  readonly to: number;
  readonly event: PathEvent;
}

/** See the module's doc. */
export class AgentPair {
  readonly agents: readonly PathAgent[];
  readonly recorders: readonly Recorder[];
  /** Called before each event. */
  readonly #watch: (side: number, pair: AgentPair) => void;
  readonly #flights: Flight[] = [];
  #losing = new Set<string>();
  #socket = 0;
  now: Millis = 1_000.25;

  constructor(
    limits: StretchLimits,
    watch: (side: number, pair: AgentPair) => void = () => {},
  ) {
    this.#watch = watch;
    this.agents = PEERS.map((_, i) =>
      new PathAgent({ mtu: 1420, seed: i + 7, ...(i === 1 ? { preference: PREFERENCES[1] } : {}) })
    );
    this.recorders = this.agents.map((agent) => new Recorder(agent, limits));
    for (const side of [0, 1]) {
      this.#tell(side, { type: "peer-added", peer: OTHER, id: PEERS[1 - side]! });
      this.#tell(side, { type: "peer-added", peer: THIRD, id: RELAY });
    }
  }

  /** Both talk by a relay, behind NATs between which only a search for ports finds a way. */
  separate(): void {
    this.#losing = new Set(ENDPOINTS);
    for (const side of [0, 1]) {
      this.#tell(side, { type: "link", path: LINKS[1]!, peer: null, isUp: true, why: "" });
      this.#tell(side, { type: "session", peer: OTHER, isUp: true });
      this.#tell(side, { type: "offer", offer: offerOf(side) });
      this.#tell(side, { type: "candidates", peer: OTHER, endpoints: ENDPOINTS });
    }
    for (let seconds = 0; seconds < 8; seconds++) {
      this.#run(this.now + 1_000);
      for (const side of [0, 1]) this.#tell(side, { type: "traffic", peer: OTHER });
    }
  }

  /** Lets something happen, then time go by. */
  step([kind, choice]: Step): void {
    const side = choice & 1;
    this.#tell(side, this.#eventOf(kind, choice >> 1));
    this.#run(this.now + (choice * 7 % 50) * 100);
  }

  #eventOf(kind: number, choice: number): PathEvent {
    const [endpoint, link] = [pick(ENDPOINTS, choice), pick(LINKS, choice)];
    const peer = choice % 5 === 4 ? THIRD : OTHER;
    switch (kind % 12) {
      case 0:
        return { type: "candidates", peer, endpoints: ENDPOINTS.slice(0, choice % 12) };
      case 1:
        return { type: "session", peer, isUp: choice % 4 > 0 };
      case 2:
        return { type: "proved", peer, path: choice % 2 ? endpoint : link };
      case 3: {
        const why = pick(WHYS, choice);
        return { type: "link", path: link, peer: null, isUp: choice % 3 > 0, why };
      }
      case 4:
        return { type: "offer", offer: offerOf(choice) };
      case 5:
        return { type: "network-changed" };
      case 6:
        return { type: "prefer", peer, preference: pick(PREFERENCES, choice) };
      case 7:
        return { type: "relay-nodes", nodes: choice % 2 ? [{ id: RELAY, peer: THIRD }] : [] };
      case 8:
        // An address begins or ceases to lose what is sent there.
        if (!this.#losing.delete(endpoint)) this.#losing.add(endpoint);
        return { type: "tick" };
      default:
        return { type: "traffic", peer };
    }
  }

  #run(until: Millis): void {
    for (let turns = 0; turns < 5_000; turns++) {
      this.#flights.sort((a, b) => a.at - b.at);
      const [flight] = this.#flights;
      const deadline = Math.min(...this.recorders.map((each) => each.deadline));
      const next = Math.min(flight?.at ?? Infinity, Math.max(deadline, this.now));
      if (next > until) break;
      this.now = next;
      if (flight && flight.at <= next) {
        this.#flights.shift();
        this.#tell(flight.to, flight.event);
      } else this.recorders.forEach((_, side) => this.#tell(side, { type: "tick" }));
    }
    this.now = Math.max(this.now, until);
  }

  #tell(side: number, event: PathEvent): void {
    this.#watch(side, this);
    for (const effect of this.recorders[side]!.handle(event, this.now)) this.#perform(side, effect);
  }

  #perform(side: number, effect: PathEffect): void {
    if (effect.type === "open-sockets") {
      const sockets = Array.from({ length: effect.count }, () => this.#socket++);
      const event = { type: "sockets", peer: effect.peer, sockets } as const;
      this.#flights.push({ at: this.now, to: side, event });
    }
    if (effect.type !== "send-path-message") return;
    const endpoint = effect.to.split(">").at(-1)!;
    if (this.#losing.has(endpoint) || this.#flights.length > 500) return;
    const { peer, to: from, message } = effect;
    const at = this.now + LATENCY_MS;
    if (peer === OTHER) {
      this.#flights.push({ at, to: 1 - side, event: { type: "message", peer, from, message } });
      // The third node has no agent; it answers pings.
    } else if (message.type === "ping") {
      const pong = { type: "pong", number: message.number, observed: endpointOf(from) } as const;
      this.#flights.push({ at, to: side, event: { type: "message", peer, from, message: pong } });
    }
  }
}

function offerOf(choice: number): Offer {
  const mapping = pick(MAPPINGS, choice);
  const mapped = [pick(ENDPOINTS, choice)];
  const filtering = "address-and-port-dependent";
  const portDelta = choice % 2 ? 1 : null;
  const nat = { ...UNKNOWN_NAT, udp: true, mapping, filtering, mapped, portDelta } as const;
  return { endpoints: ENDPOINTS.slice(choice % 8, choice % 8 + 3), nat };
}

function endpointOf(path: string): string | null {
  return ENDPOINTS.includes(path) ? path : null;
}

function pick<T>(list: readonly T[], choice: number): T {
  return list[choice % list.length]!;
}
