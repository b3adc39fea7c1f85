/**
 * What do the mesh's users see of its log, and how do they add to it? The part of the local API that
 * is about users, members, tokens and policy.
 *
 * An entry is signed here with this machine's identity, which is an admin's key on an admin's
 * machine, or came signed with another key. It counts when a coordinator has taken it; the answer
 * waits until it has come back, so that what a command did holds here when it ends.
 * @module
 */
import { fromBase64Url, toBase64Url } from "../bytes.ts";
import { PATHS } from "../control/envelope.ts";
import { LogAppendReply, MAX_PEERS } from "../control/messages.ts";
import type { NetmapView } from "../control/netmap.ts";
import { MeshError } from "../errors.ts";
import { type Identity } from "../identity/keys.ts";
import type { PeerId } from "../ids.ts";
import { fingerprint } from "../identity/openssh.ts";
import { encodeToken, TOKEN_SECRET_BYTES, tokenIdOf } from "../identity/token.ts";
import { admissionKey, inviteBodies } from "../state/admission.ts";
import { type Body, COORDINATOR_TAG, sortedSet } from "../state/bodies.ts";
import { type Entry, type SignedEntry } from "../state/entry.ts";
import { DEFAULT_EXPIRES_AFTER_MS, expiryOf } from "../state/expiry.ts";
import { type MeshLog, signAll } from "../state/log.ts";
import { type MeshState, type User, userOfKey } from "../state/state.ts";
import type { MeshReport, TokenReport, TokenRequest } from "./mesh_report.ts";
import type { SignedCall } from "./registration.ts";
import { systemRandom } from "./system_random.ts";

/** Entries of others that come between are followed so often. */
const MAX_ATTEMPTS = 8;
/** How long an entry may take to come back. */
const RETURN_MS = 5_000;

export interface MeshAdminOptions {
  readonly identity: Identity;
  readonly log: MeshLog;
  readonly view: NetmapView;
  /** What tokens pin: SHA-256 of the mesh's root certificate, or zeros. */
  readonly caPin: Uint8Array;
  readonly wallTime: () => number;
  /** Wall time when a node was last heard of, 0 for never. */
  readonly lastSeen: (id: PeerId) => number;
  /** Makes a signed call to a coordinator. */
  readonly call: (call: SignedCall) => Promise<unknown>;
}

/** See the module's doc. */
export class MeshAdmin {
  readonly #options: MeshAdminOptions;
  readonly #waiting = new Set<{ readonly seq: number; readonly resolve: () => void }>();

  constructor(options: MeshAdminOptions) {
    this.#options = options;
  }

  get #state(): MeshState {
    return this.#options.log.state;
  }

  /** Whether this machine's key is an admin's. */
  get isAdmin(): boolean {
    return this.#user()?.isAdmin ?? false;
  }

  /** The log has grown. */
  grown(): void {
    const { seq } = this.#options.log.head;
    for (const waiter of this.#waiting) {
      if (waiter.seq > seq) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }

  /** `GET /v1/mesh` */
  report(): MeshReport {
    const { log, view, wallTime, caPin } = this.#options;
    const state = this.#state;
    const names = new Map(view.pins.map(({ id, name }) => [id, name]));
    const { seq, hash } = log.head;
    const me = this.#user();
    const nameOf = (user: string | null) => user && (state.users.get(user)?.name ?? null);
    const node = state.nodes.get(this.#options.identity.peerId);
    return {
      meshId: log.meshId,
      seq,
      hash,
      caPin: toBase64Url(caPin),
      me: {
        node: this.#options.identity.peerId,
        user: me?.name ?? nameOf(node?.user ?? null),
        userId: me?.id ?? node?.user ?? null,
        isAdmin: me?.isAdmin ?? false,
      },
      users: [...state.users.values()].map(({ id, name, key, isAdmin, addedAt }) => {
        return { id, name, isAdmin, key: fingerprint(fromBase64Url(key)), addedAt };
      }),
      nodes: [...state.nodes.values()].map((each) => {
        const peer = view.peers.get(each.id);
        const lastSeen = this.#options.lastSeen(each.id);
        const { expiresAt } = expiryOf(each, lastSeen, wallTime());
        return {
          id: each.id,
          name: peer?.record.name ?? each.id,
          user: nameOf(each.user),
          tags: [...each.tags],
          addresses: [...peer?.record.addresses ?? []],
          online: peer?.online ?? null,
          lastSeen,
          expiresAt,
          admittedAt: each.renewedAt,
        };
      }),
      authorities: [...state.authorities.values()].map((each) => ({
        id: each.id,
        note: each.note,
        uses: each.uses,
        maxNodes: each.limits.maxNodes,
        expiresAt: each.limits.expiresAt,
        user: nameOf(each.limits.user),
        tags: [...each.limits.tags],
        createdAt: each.createdAt,
        createdBy: nameOf(each.createdBy),
        withdrawnAt: each.withdrawnAt,
      })),
      revoked: [...state.revoked.values()].map(({ id, at, reason }) => {
        return { id, name: names.get(id) ?? id, at, reason };
      }),
      transports: [...state.transports.values()].map(({ node, peer, preference }) => {
        return { node, peer, order: [...preference.order], exclude: [...preference.exclude] };
      }),
      policy: this.#policy(),
    };
  }

  /** `GET /v1/mesh/log` */
  entries(): { readonly meshId: string; readonly entries: SignedEntry[] } {
    const { log } = this.#options;
    return { meshId: log.meshId, entries: log.since(0).map(({ signed }) => signed) };
  }

  /** `POST /v1/mesh/draft`: what to sign with another key. */
  draft(body: Body): { readonly entry: Entry } {
    return { entry: this.#options.log.draft(body, Math.floor(this.#options.wallTime())) };
  }

  /**
   * `POST /v1/mesh/append` of what was signed elsewhere.
   * @throws {MeshError} "entry-*", "log-*", "coordinator-unreachable"
   */
  async append(signed: SignedEntry): Promise<LogAppendReply> {
    const { log } = this.#options;
    // What is wrong is said here, in this node's words.
    log.branch().append(signed);
    return await this.#submit([signed]);
  }

  /**
   * Signs with this machine's identity, and adds.
   * @throws {MeshError} "entry-*", "last-admin", "coordinator-unreachable"
   */
  async state(...bodies: readonly Body[]): Promise<LogAppendReply> {
    const { log, identity, wallTime } = this.#options;
    for (let attempt = 1;; attempt++) {
      const { seq } = log.head;
      const entries = signAll(log, identity, bodies, Math.floor(wallTime()));
      try {
        return await this.#submit(entries);
      } catch (error) {
        const isLate = error instanceof MeshError && error.code.startsWith("log-");
        if (!isLate || attempt === MAX_ATTEMPTS) throw error;
        await this.#reached(seq + 1);
      }
    }
  }

  /**
   * Makes a join token.
   * @throws {MeshError} "forbidden" for one who is no admin, "name-unknown" for an unknown user
   */
  async createToken(request: TokenRequest): Promise<TokenReport> {
    const { caPin, wallTime, log } = this.#options;
    const secret = systemRandom.bytes(TOKEN_SECRET_BYTES);
    const { reusable, expiresInMs, note, tags, isCoordinator } = request;
    const authority = tokenIdOf(secret);
    const expiresAt = expiresInMs === null ? null : Math.floor(wallTime()) + expiresInMs;
    const shared = {
      authority,
      note,
      tags: sortedSet([...tags, ...isCoordinator ? [COORDINATOR_TAG] : []]),
      expiresAfterMs: DEFAULT_EXPIRES_AFTER_MS,
    };
    this.#expectAdmin();
    if (request.newUser !== null) {
      const name = request.newUser;
      await this.state(...inviteBodies({ name, secret, expiresAt, ...shared }));
    } else {
      const { tags, expiresAfterMs } = shared;
      const user = this.#owner(request);
      const maxNodes = reusable ? MAX_PEERS : 1;
      await this.state({
        type: "token-authority",
        authority,
        key: toBase64Url(admissionKey(secret).publicKey),
        limits: { maxNodes, expiresAt, user, tags, expiresAfterMs },
        note,
      });
    }
    const token = encodeToken({ caPin, meshId: log.meshId, secret });
    return { id: authority, token, expiresAt, reusable, note };
  }

  /**
   * Makes a token useless.
   * @throws {MeshError} "token-invalid" when there is none of that id, "forbidden"
   */
  async withdrawToken(id: string): Promise<void> {
    const authority = this.#state.authorities.get(id);
    if (!authority) {
      throw new MeshError("token-invalid", `Cannot revoke token "${id}": there is none`, {
        hint: "See the tokens with: tunnelmesh token list",
      });
    }
    this.#expectAdmin();
    if (authority.withdrawnAt !== null) return;
    const { key, note } = authority;
    await this.state({ type: "token-authority", authority: id, key, limits: null, note });
  }

  /** Whose the nodes of a token are: the named user's, nobody's where there are tags, else one's own. */
  #owner({ user, tags }: TokenRequest): string | null {
    if (user === null) return tags.length > 0 ? null : this.#user()!.id;
    const found = [...this.#state.users.values()].find(({ name, id }) =>
      name === user || id === user
    );
    if (found) return found.id;
    throw new MeshError("name-unknown", `Cannot make a token for "${user}": no such user`, {
      hint: `To invite a new user write: tunnelmesh token create --new-user ${user}`,
    });
  }

  async #submit(entries: readonly SignedEntry[]): Promise<LogAppendReply> {
    const { call } = this.#options;
    const reply = await call({ method: "POST", path: PATHS.log, body: { entries } });
    const { seq, hash } = LogAppendReply.parse(reply);
    await this.#reached(seq);
    return { seq, hash };
  }

  /** Until the log here goes as far; not longer than it should take. */
  async #reached(seq: number): Promise<void> {
    if (this.#options.log.head.seq >= seq) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { seq, resolve };
    this.#waiting.add(waiter);
    const timer = setTimeout(() => resolve(), RETURN_MS);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(waiter);
  }

  #user(): User | undefined {
    return userOfKey(this.#state, toBase64Url(this.#options.identity.publicKey));
  }

  #expectAdmin(): void {
    if (this.isAdmin) return;
    throw new MeshError("forbidden", "Cannot do that: this machine's key is no admin's", {
      hint: "Run it on an admin's machine; `tunnelmesh user list` shows who is one",
    });
  }

  #policy(): MeshReport["policy"] {
    const { policy } = this.#state;
    if (!policy) return null;
    const { log } = this.#options;
    const { hash, at, documents } = policy;
    const verified = log.since(0).findLast(({ entry: { body } }) =>
      body.type === "policy-set" && body.hash === hash
    );
    const signer = verified && userOfKey(this.#state, verified.signer);
    return {
      hash,
      seq: verified?.entry.seq ?? log.first,
      at,
      by: signer?.name ?? "unknown",
      documents: documents.map(({ file, text }) => ({ file, text })),
    };
  }
}
