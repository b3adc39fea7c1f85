/**
 * A daemon for tests with a real log: what is stated to it changes the mesh that it tells of.
 * @module
 */
import { fromBase64Url, toBase64Url } from "../core/bytes.ts";
import { AppendRequest, DraftRequest, MeshReport } from "../core/daemon/mesh_report.ts";
import { MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { fingerprint } from "../core/identity/openssh.ts";
import { audit } from "../core/state/audit.ts";
import type { Body } from "../core/state/bodies.ts";
import { verifyEntry } from "../core/state/entry.ts";
import { actor, admitBody, FakeMesh, START } from "../core/state/fake_mesh.ts";
import { type MeshState, userOfKey } from "../core/state/state.ts";
import { FakeDaemon, type FakeReply, type SeenRequest, STATUS } from "./fake_daemon.ts";

/** What the machines of {@link FakeMeshDaemon} are called, by the number of their key. */
const NAMES: Readonly<Record<number, string>> = { 1: "laptop", 11: "nas", 12: "desk", 13: "cam" };

/**
 * anna, the admin, with `laptop`, where this daemon runs; bob with `desk`; `nas` tagged `server` and
 * `cam` tagged `untrusted`.
 */
export class FakeMeshDaemon implements AsyncDisposable {
  readonly mesh = new FakeMesh();
  readonly daemon: FakeDaemon;
  /** Whose key the daemon signs with. */
  signer: Identity = actor(1);
  /** What the next requests of that path are refused with, in order. */
  readonly refusals: { path: string; error: MeshError }[] = [];
  /** Drafts something else than it was asked for. */
  lies: Body | null = null;

  constructor(socketPath: string) {
    const { mesh } = this;
    mesh.addUser(actor(2), "bob");
    mesh.say(actor(1), admitBody(actor(1), { user: actor(1) }));
    mesh.say(actor(1), admitBody(actor(11), { tags: ["server"] }));
    mesh.say(actor(1), admitBody(actor(12), { user: actor(2) }));
    mesh.say(actor(1), admitBody(actor(13), { tags: ["untrusted"] }));
    this.daemon = new FakeDaemon(socketPath, (request) => this.#answer(request));
  }

  get state(): MeshState {
    return this.mesh.log.state;
  }

  get socketPath(): string {
    return this.daemon.socketPath;
  }

  /** The text of the only document of the applied policy. */
  get policyText(): string | undefined {
    return this.state.policy?.documents[0]?.text;
  }

  /** As the daemon would tell it. */
  get report(): MeshReport {
    const { log } = this.mesh;
    const { state } = this;
    const me = userOfKey(state, keyText(this.signer));
    const nameOf = (id: string | null) => state.users.get(id ?? "")?.name ?? null;
    const lines = [...audit(this.mesh.entries, state.meshId)];
    const policySet = lines.findLast(({ action }) => action === "policy-set");
    return MeshReport.parse({
      meshId: state.meshId,
      ...log.head,
      caPin: toBase64Url(new Uint8Array(32)),
      me: {
        node: this.signer.peerId,
        user: me?.name ?? null,
        userId: me?.id ?? null,
        isAdmin: me?.isAdmin ?? false,
      },
      users: [...state.users.values()].map((user) => ({
        ...user,
        key: fingerprint(fromBase64Url(user.key)),
      })),
      nodes: [...state.nodes.values()].map(({ id, user, tags, renewedAt, expiresAfterMs }) => ({
        id,
        name: nodeName(id),
        user: nameOf(user),
        tags,
        addresses: ["172.30.0.9"],
        online: id === this.signer.peerId,
        lastSeen: renewedAt,
        expiresAt: expiresAfterMs === null ? null : renewedAt + expiresAfterMs,
        admittedAt: renewedAt,
      })),
      authorities: [],
      revoked: [...state.revoked.values()].map(({ id, at, reason }) => {
        return { id, name: nodeName(id), at, reason };
      }),
      transports: [],
      policy: state.policy && policySet
        ? { ...state.policy, seq: policySet.seq, by: policySet.by.name }
        : null,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
  }

  #answer({ path, body }: SeenRequest): FakeReply {
    const at = this.refusals.findIndex((each) => each.path === path);
    if (at >= 0) return { error: this.refusals.splice(at, 1)[0]!.error };
    try {
      return { json: this.#handle(path, body) };
    } catch (error) {
      if (error instanceof MeshError) return { error };
      throw error;
    }
  }

  #handle(path: string, body: unknown): unknown {
    const { mesh } = this;
    switch (path) {
      case "/v1/mesh":
        return this.report;
      case "/v1/mesh/log":
        return { meshId: this.state.meshId, entries: mesh.entries };
      case "/v1/mesh/draft": {
        const asked = this.lies ?? DraftRequest.parse(body).body;
        return { entry: mesh.log.draft(asked, START + 60_000) };
      }
      case "/v1/mesh/append": {
        const request = AppendRequest.parse(body);
        const signed = "signed" in request ? request.signed : mesh.draft(this.signer, request.body);
        const { entry, hash } = mesh.log.append(verifyEntry(signed).signed);
        return { seq: entry.seq, hash };
      }
      default:
        return STATUS;
    }
  }
}

function keyText({ publicKey }: Identity): string {
  return publicKey.toBase64({ alphabet: "base64url", omitPadding: true });
}

function nodeName(id: string): string {
  const number = Object.keys(NAMES).find((each) => actor(Number(each)).peerId === id);
  return number === undefined ? id : NAMES[Number(number)]!;
}
