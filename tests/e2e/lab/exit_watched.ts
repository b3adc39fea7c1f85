/**
 * A client's machine that talks all the time, and what of that leaves it past its exit.
 * @module
 */
import { strict as assert } from "node:assert";
import { Probe } from "./exit_control.ts";
import type { ExitMesh } from "./exit_mesh.ts";
import { Capture, EXIT4, EXIT6, LAN_ROUTER4, WORLD4, WORLD6 } from "./exit_world.ts";
import { waitFor } from "./process.ts";

/** Long enough for every kind of packet of the probe, several times. */
const CHATTER_MS = 500;
/** Machines of the mesh: the coordinator's and the exits, and where one was seen from outside. */
const MEMBERS = String
  .raw`(203\.0\.113\.(1|10|20|53)|2001:db8:9::(10|20)|198\.51\.10[01]\.7|2001:db8:7::7)`;
/** The control connection and the relay, STUN, SSH links, sessions; and hole punching. */
const OWN = [
  new RegExp(`> ${MEMBERS}\\.(51820|8443|3478|3479|2222): `),
  new RegExp(`\\.51820 > ${MEMBERS}\\.\\d+: UDP`),
];

/** The client's machine with programs that talk all the time, and what of them leaves it. */
export class Watched {
  readonly #capture: Capture;
  readonly probe: Probe;

  private constructor(capture: Capture, probe: Probe) {
    this.#capture = capture;
    this.probe = probe;
  }

  static async start(mesh: ExitMesh): Promise<Watched> {
    const { client } = mesh.world;
    const targets = [WORLD4, `[${WORLD6}]`].flatMap((host) => [`${host}:9999`, `${host}:53`]);
    const args = [...targets, `${LAN_ROUTER4}:53`, `${LAN_ROUTER4}:9999`];
    const probe = new Probe(await mesh.world.script(client, "exit_probe", args));
    for (const target of [WORLD4, WORLD6]) {
      for (const bound of [[], ["-I", "eth0"]]) {
        mesh.use(client.spawn(["ping", "-n", "-i", "0.1", ...bound, target]));
      }
    }
    const guest = await mesh.world.addGuest();
    mesh.use(guest.spawn(["ping", "-n", "-i", "0.1", WORLD4]));
    return new Watched(mesh.use(await Capture.start(mesh.world)), probe);
  }

  /** What left since the last call and was not the mesh's. */
  async leaks(): Promise<string[]> {
    return (await this.#capture.leaks()).filter((line) => !OWN.some((own) => own.test(line)));
  }

  /** Waits a while, in which nothing may leave. */
  async mustBeQuiet(what: string): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, CHATTER_MS));
    assert.deepEqual(await this.leaks(), [], what);
  }

  /** Waits until everything goes through the exit, and nothing past it meanwhile. */
  async mustWork(what: string): Promise<void> {
    const seen = await waitFor(what, async () => {
      const answers = (await this.probe.askAll()).sort();
      return answers.includes("none") ? null : answers;
    }, { timeoutMs: 20_000 });
    assert.deepEqual(seen, [EXIT4, EXIT6].sort(), what);
    await this.mustBeQuiet(what);
  }

  /** Nobody answers, and nothing leaves. */
  async mustBeBlocked(what: string): Promise<void> {
    assert.deepEqual(await this.probe.askAll(), ["none"], what);
    await this.mustBeQuiet(what);
  }
}
