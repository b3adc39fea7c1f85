/**
 * A mesh in the simulator, with everything that must always hold checked as it happens.
 * @module
 */
import assert from "node:assert/strict";
import { RecordVerifier } from "../../core/control/roster.ts";
import { SharedState } from "../../core/dataplane/layout.ts";
import { type Identity, identityFromSeed } from "../../core/identity/keys.ts";
import type { JoinToken } from "../../core/identity/token.ts";
import { parseIp } from "../../core/ip.ts";
import { SeededRandom } from "../../core/random.ts";
import { createToken, TOKEN_SECRET } from "./admin.ts";
import { Coordinator } from "./coordinator.ts";
import { Host, type HostOptions } from "./host.ts";
import type { SiteKind } from "./internet.ts";
import { Network } from "./network.ts";
import { World } from "./world.ts";

const UDP = 17;
const UDP_HEADER = 8;
const PORT = 7;
/** Marks a packet of the simulation, so that it would be found in the clear on the wire. */
const MARK = "tunnelmesh simulation payload";

/** Identities by number; the same in every seed, since making them is slow. */
const identities: Identity[] = [];
/** Memory of hosts of earlier meshes; each is some 55 MB of address space. */
const memories: SharedState[] = [];
/** Records verified once for all seeds. */
const verifier = new RecordVerifier();

function identityOf(number: number): Identity {
  return identities[number] ??= identityFromSeed(new SeededRandom(1_000 + number).bytes(32));
}

/** A coordinator, hosts, and what was sent between them. */
export class SimMesh implements Disposable {
  readonly world: World;
  readonly network: Network;
  readonly coordinator: Coordinator;
  readonly hosts: Host[] = [];
  readonly #memories: SharedState[] = [];
  /** Packets on their way, by number; those delivered are marked. */
  readonly #packets = new Map<number, { to: Host; delivered: boolean }>();
  #nextPacket = 1;
  /** Receiver index, counter of each transport message seen; a nonce must never be used twice. */
  readonly #nonces = new Map<string, string>();

  constructor(seed: number) {
    this.world = new World(seed);
    this.network = new Network(this.world);
    this.network.onSend = (from, to, bytes) => this.#inspect(from, to, bytes);
    this.coordinator = new Coordinator(this.world, verifier);
  }

  /** What makes a machine a member: the first one of the mesh, then those of its user. */
  get token(): JoinToken {
    const { mesh } = this.coordinator;
    const secret = mesh.isNew ? mesh.firstSecret("node") : TOKEN_SECRET;
    return { caPin: new Uint8Array(32), meshId: mesh.log.meshId, secret };
  }

  /** Adds a host with the given number, registered and started. */
  add(number = this.hosts.length): Host {
    return this.addAt(number, { ips: [`192.0.2.${number + 1}`] });
  }

  /** The same, at a place of its own. */
  addAt(
    number: number,
    place: Pick<HostOptions, "ips" | "relays" | "stunServers" | "viaNodes">,
  ): Host {
    const memory = memories.pop() ?? new SharedState();
    this.#memories.push(memory);
    const { world, network, coordinator } = this;
    const host = new Host({
      world,
      network,
      coordinator,
      verifier,
      identity: identityOf(number),
      name: `n${number}`,
      ...place,
      memory,
    });
    host.onPacket = (packet) => this.#received(host, packet);
    host.join(this.token);
    host.start();
    this.hosts.push(host);
    if (this.hosts.length === 1) createToken(host, TOKEN_SECRET);
    return host;
  }

  /** Adds a host at a site of some kind, with a relay and STUN servers. */
  addBehind(kind: SiteKind, surroundings: Pick<HostOptions, "relays" | "stunServers">): Host {
    const { ip4, ip6 } = kind.build(this.network, this.hosts.length + 1);
    return this.addAt(this.hosts.length, {
      ips: ip6 === null ? [ip4] : [ip4, ip6],
      ...surroundings,
    });
  }

  /** Whether a packet of each pair that is sent now arrives within `limit` milliseconds. */
  passes(pairs: readonly (readonly [from: Host, to: Host])[], limit = 1_000): boolean[] {
    const numbers = pairs.map(([from, to]) => this.send(from, to));
    this.world.run(limit);
    return numbers.map((number) => this.hasArrived(number));
  }

  /** Sends one packet; returns its number. */
  send(from: Host, to: Host, family: 4 | 6 = 4): number {
    const number = this.#nextPacket++;
    this.#packets.set(number, { to, delivered: false });
    from.sendPacket(packetOf(from, to, number, family));
    return number;
  }

  /** Whether a packet has arrived. */
  hasArrived(number: number): boolean {
    return this.#packets.get(number)?.delivered ?? false;
  }

  /** How many of the packets sent so far never arrived. */
  get lost(): number {
    return [...this.#packets.values()].filter(({ delivered }) => !delivered).length;
  }

  /** Whether each running host gets a packet to each other and resolves its name. */
  isWhole(): boolean {
    const running = this.hosts.filter((host) => host.isRunning);
    const probes = running.flatMap((from) =>
      running.filter((to) => to !== from).map((to) => this.send(from, to))
    );
    this.world.run(200);
    return probes.every((number) => this.hasArrived(number)) && this.namesAreRight();
  }

  /** Whether each running host resolves each other's name to its addresses. */
  namesAreRight(): boolean {
    const running = this.hosts.filter((host) => host.isRunning);
    return running.every((host) =>
      running.every(({ reply }) =>
        host.zone.lookup(`${reply.name}.mesh`)?.addresses.join() === reply.addresses.join()
      )
    );
  }

  /** No two members share an address or a name. */
  checkLeases(): void {
    const nodes = [...this.coordinator.state.nodes.values()];
    for (const key of ["name", "ip4"] as const) {
      const values = nodes.map((node) => node[key]);
      assert.equal(new Set(values).size, values.length, `two nodes share a ${key}`);
    }
  }

  [Symbol.dispose](): void {
    memories.push(...this.#memories);
  }

  #received(host: Host, packet: Uint8Array): void {
    const number = new DataView(packet.buffer, packet.byteOffset).getUint32(packet.length - 4);
    const sent = this.#packets.get(number);
    assert.ok(sent, `${host.name} got a packet that nobody sent`);
    assert.equal(sent.to, host, `packet ${number} reached ${host.name}`);
    assert.ok(!sent.delivered, `packet ${number} was delivered twice`);
    assert.ok(new TextDecoder().decode(packet).includes(MARK), `packet ${number} was altered`);
    sent.delivered = true;
  }

  /** Nothing in the clear, and no nonce twice with different content. */
  #inspect(from: string, to: string, bytes: Uint8Array): void {
    const text = new TextDecoder("latin1").decode(bytes);
    assert.ok(!text.includes(MARK.slice(0, 12)), `plaintext on the wire from ${from} to ${to}`);
    if (bytes[0] !== 4 || bytes.length < 32) return;
    const nonce = `${from.split(":")[0]} ${text.slice(4, 16)}`;
    const before = this.#nonces.get(nonce);
    assert.ok(before === undefined || before === text, `a nonce was used twice by ${from}`);
    this.#nonces.set(nonce, text);
  }
}

/** A UDP-like packet from one host to the other that carries its number. */
function packetOf(from: Host, to: Host, number: number, family: 4 | 6): Uint8Array {
  const payload = new TextEncoder().encode(MARK);
  const [source, destination] = [from, to].map(({ reply }) =>
    parseIp(reply.addresses[family === 4 ? 0 : 1])!
  );
  const header = family === 4 ? 20 : 40;
  const packet = new Uint8Array(header + UDP_HEADER + payload.length + 4);
  const view = new DataView(packet.buffer);
  if (family === 4) {
    packet[0] = 0x45;
    view.setUint16(2, packet.length);
    packet[9] = UDP;
    packet.set(source!, 12);
    packet.set(destination!, 16);
  } else {
    packet[0] = 0x60;
    view.setUint16(4, packet.length - 40);
    packet[6] = UDP;
    packet.set(source!, 8);
    packet.set(destination!, 24);
  }
  for (const at of [header, header + 2]) view.setUint16(at, PORT);
  view.setUint16(header + 4, packet.length - header);
  packet.set(payload, header + UDP_HEADER);
  view.setUint32(packet.length - 4, number);
  return packet;
}
