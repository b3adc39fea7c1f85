/**
 * What carries datagrams beside the node's UDP socket, put together: links, other nodes.
 * @module
 */
import { equalConstantTime, fromBase64Url } from "../bytes.ts";
import { errorMessage } from "../errors.ts";
import { peerIdOf } from "../identity/keys.ts";
import type { PeerId } from "../ids.ts";
import { formatEndpoint, type Ip, parseEndpoint } from "../ip.ts";
import type { Link, LinkEvents } from "../link.ts";
import type { Millis } from "../machine.ts";
import type { NodeMachine } from "../node.ts";
import type { PathEffect, PathEvent } from "../path/agent.ts";
import { kindOf } from "../path/address.ts";
import type { Readiness } from "../platform/linux/readiness.ts";
import type { Random } from "../random.ts";
import type { NetcheckReport } from "./api_types.ts";
import { ExtraSockets } from "./extra_sockets.ts";
import type { Log } from "./log.ts";
import { NodeRelay } from "./node_relay.ts";
import type { PathShell } from "./path_shell.ts";
import { systemRandom } from "./system_random.ts";

/** What links are made with. */
export interface LinkWiring {
  /** Takes the name of the link that speaks. */
  readonly events: (name: string) => LinkEvents;
  /** ed25519, 32 bytes; null for who is no member. */
  readonly publicKeyOf: (peer: PeerId) => Uint8Array | null;
  /** The member with that key, or null. */
  readonly peerOf: (publicKey: Uint8Array) => PeerId | null;
  readonly clock: () => Millis;
  readonly random: Random;
}

/** A link that can say how it is. */
export interface ReportingLink extends Link {
  readonly rttMs?: number | null;
  readonly problem?: string | null;
  /** TCP port that it listens on. */
  readonly port?: number | null;
}

export interface CarriersOptions {
  readonly node: NodeMachine;
  readonly paths: PathShell;
  readonly readiness: Readiness;
  /** This node's mesh address, IPv4. */
  readonly address: Ip;
  readonly relays: boolean;
  readonly openLinks: (wiring: LinkWiring) => Promise<readonly ReportingLink[]>;
  readonly openRelay: (url: string, wiring: LinkWiring) => ReportingLink;
  readonly clock: () => Millis;
  readonly emit: (event: PathEvent) => void;
  readonly log: Log;
}

/** See the module's doc. */
export class Carriers {
  readonly #options: CarriersOptions;
  readonly #wiring: LinkWiring;
  #links: readonly ReportingLink[] = [];
  /** By the coordinator's origin. */
  readonly #relays = new Map<string, ReportingLink>();
  /** What has to end before this is closed. */
  readonly #ending = new Set<Promise<void>>();
  readonly #sockets: ExtraSockets;
  #nodeRelay: NodeRelay | null = null;

  constructor(options: CarriersOptions) {
    this.#options = options;
    const { paths, readiness } = options;
    this.#sockets = new ExtraSockets(readiness, paths.inbound.bind(paths));
    paths.addCarrier("socket", this.#sockets);
    this.#wiring = {
      events: (name) => this.#events(name),
      publicKeyOf: (peer) => this.#keyOf(peer),
      peerOf: (key) => {
        const id = peerIdOf(key);
        const known = this.#keyOf(id);
        return known !== null && equalConstantTime(known, key) ? id : null;
      },
      clock: options.clock,
      random: systemRandom,
    };
  }

  /** TCP port of the SSH link, 0 for none. */
  get sshPort(): number {
    return this.#links.find(({ kind }) => kind === "ssh")?.port ?? 0;
  }

  /** The links through coordinators, for users. */
  get relays(): NetcheckReport["relays"] {
    return [...this.#relays.values()].map((link) => ({
      name: link.name.replace(/^relay:/, ""),
      isUp: link.problem === null,
      rttMs: link.rttMs ?? null,
      lastError: link.problem ?? null,
    }));
  }

  /** Opens links, and what needs the mesh interface. */
  async start(): Promise<void> {
    this.#openNodeRelay();
    this.#links = await this.#options.openLinks(this.#wiring);
    for (const link of this.#links) this.#carry(link);
  }

  /** Keeps a link through each of these coordinators and through no other. */
  setRelays(urls: readonly string[]): void {
    const { openRelay, paths, emit } = this.#options;
    for (const [url, link] of this.#relays) {
      if (urls.includes(url)) continue;
      this.#relays.delete(url);
      paths.removeCarrier(link.name);
      const why = "its coordinator is none of this mesh any more";
      emit({ type: "link", path: link.name, peer: null, isUp: false, why });
      const ended = link.close().finally(() => this.#ending.delete(ended));
      this.#ending.add(ended);
    }
    for (const url of urls) {
      if (this.#relays.has(url)) continue;
      const link = openRelay(url, this.#wiring);
      this.#relays.set(url, link);
      this.#carry(link);
    }
  }

  #carry(link: ReportingLink): void {
    this.#options.paths.addCarrier(link.name, {
      send: (_to, peer, train) => link.send(peer, train),
    });
  }

  #openNodeRelay(): void {
    const { node, paths, address, relays, log } = this.#options;
    const memberAt = (ip: Ip) =>
      [...node.peers.values()].find(({ addresses }) => addresses.includes(ip))?.id ?? null;
    const addressOf = (id: PeerId) =>
      node.peers.get(node.slotOf(id) ?? -1)?.addresses.find((ip) => !ip.includes(":")) ?? null;
    try {
      this.#nodeRelay = new NodeRelay({
        address,
        relays: () => relays,
        addressOf,
        memberAt,
        isRelay: (id) => node.meshPeer(id)?.links.relays === true,
        received: paths.inbound.bind(paths),
      }, this.#options.readiness);
      paths.addCarrier("node", this.#nodeRelay);
    } catch (error) {
      log("warn", "Cannot use other nodes as relays", { why: errorMessage(error) });
    }
  }

  /** Follows what the agent decided: a link that dials is used where there is nothing better. */
  perform(effect: PathEffect): void {
    switch (effect.type) {
      case "want-link":
        return this.#dial(effect.peer);
      case "open-sockets": {
        const { peer, count } = effect;
        const id = this.#options.node.peers.get(peer)?.id;
        const sockets = id ? this.#sockets.open(id, count) : [];
        return this.#options.emit({ type: "sockets", peer, sockets });
      }
      case "close-sockets":
        return this.#sockets.close(effect.sockets);
      case "use-path": {
        const id = this.#options.node.peers.get(effect.peer)?.id;
        const isDirect = kindOf(effect.path) === "udp" && effect.standby === null;
        if (id && isDirect) this.#ssh()?.dial(id, []);
      }
    }
  }

  /** The machine changed networks or woke up. */
  reconnect(): void {
    for (const link of [...this.#links, ...this.#relays.values()]) link.reconnect();
  }

  async close(): Promise<void> {
    const links = [...this.#links, ...this.#relays.values()];
    await Promise.all([...links.map((link) => link.close()), ...this.#ending]);
    this.#nodeRelay?.close();
    await this.#sockets.shutdown();
  }

  #ssh(): Link | undefined {
    return this.#links.find(({ kind }) => kind === "ssh");
  }

  #dial(peer: number): void {
    const { node } = this.#options;
    const id = node.peers.get(peer)?.id;
    const mesh = id ? node.meshPeer(id) : undefined;
    if (!id || !mesh || mesh.links.sshPort === 0) return;
    const addresses = new Set(mesh.endpoints.flatMap((text) => parseEndpoint(text)?.ip ?? []));
    const endpoints = [...addresses].map((ip) => formatEndpoint(ip, mesh.links.sshPort));
    this.#ssh()?.dial(id, endpoints);
  }

  #events(name: string): LinkEvents {
    const { node, paths, emit } = this.#options;
    return {
      received: (id, train) => paths.inbound(name, id, train),
      changed: (id, isUp, why) => {
        const peer = id === null ? null : node.slotOf(id) ?? null;
        if (id === null || peer !== null) emit({ type: "link", path: name, peer, isUp, why });
      },
    };
  }

  #keyOf(peer: PeerId): Uint8Array | null {
    const signer = this.#options.node.meshPeer(peer)?.signed.signer;
    return signer === undefined ? null : fromBase64Url(signer);
  }
}
