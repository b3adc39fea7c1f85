/**
 * The mesh's log at a coordinator: who is a member, what may be added, and how a mesh begins.
 *
 * The coordinator puts entries in order and keeps them; what they say is judged by the log alone.
 * Its own key signs the genesis and, when the first node joins, makes that node's user the admin
 * and removes itself. From then on it can state nothing any more.
 * @module
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { fromBase64Url, toBase64Url, utf8 } from "../../core/bytes.ts";
import { type LogReadReply, MAX_LOG_ENTRIES } from "../../core/control/messages.ts";
import { MeshError } from "../../core/errors.ts";
import { type Identity, peerIdOf, verify } from "../../core/identity/keys.ts";
import type { SignedRecord } from "../../core/identity/record.ts";
import { TOKEN_SECRET_BYTES, tokenIdOf } from "../../core/identity/token.ts";
import type { PeerId } from "../../core/ids.ts";
import { admissionKey, expectAdmitting } from "../../core/state/admission.ts";
import { COORDINATOR_TAG, sortedSet, UserName } from "../../core/state/bodies.ts";
import { BOOTSTRAP_USER, bootstrapEntries } from "../../core/state/bootstrap.ts";
import { type SignedEntry, verifyEntry } from "../../core/state/entry.ts";
import { DEFAULT_EXPIRES_AFTER_MS, expiryOf } from "../../core/state/expiry.ts";
import { headSigner } from "../../core/state/head.ts";
import type { Head, MeshLog } from "../../core/state/log.ts";
import {
  isCoordinator,
  type MemberNode,
  type MeshState,
  userOfKey,
} from "../../core/state/state.ts";

const ASK = "Ask an admin of the mesh for another token: tunnelmesh token create";

/** Which of a mesh's two first tokens: one for the coordinator's own machine, or for any. */
export type FirstToken = "coordinator" | "node";

export interface MeshOptions {
  readonly log: MeshLog;
  /** The coordinator's own key. */
  readonly identity: Identity;
  /** Puts entries on the disk; they are there when it returns. */
  readonly keep: (entries: readonly SignedEntry[]) => void;
}

/** See the module's doc. */
export class Mesh {
  readonly log: MeshLog;
  readonly #identity: Identity;
  /** Puts entries that the log has taken on the disk. */
  readonly keep: MeshOptions["keep"];
  #head: { readonly hash: string; readonly at: number; readonly signed: SignedRecord } | null =
    null;

  constructor({ log, identity, keep }: MeshOptions) {
    this.log = log;
    this.#identity = identity;
    this.keep = keep;
  }

  get state(): MeshState {
    return this.log.state;
  }

  /** base64url of the key that signs heads. */
  get key(): string {
    return toBase64Url(this.#identity.publicKey);
  }

  /** Whether nobody has joined yet, so that the first node's user becomes the admin. */
  get isNew(): boolean {
    return userOfKey(this.state, this.key)?.isAdmin ?? false;
  }

  /** What signs how far the log goes. */
  headSigner(wallTime: () => number): (head: Head) => SignedRecord {
    return headSigner(this.#identity, this.log.meshId, wallTime);
  }

  /**
   * The secret of the first token. It follows from the coordinator's key, so that it is good after
   * a restart, too, and is written nowhere.
   */
  firstSecret(kind: FirstToken): Uint8Array {
    const info = utf8(`tunnelmesh-first-token-v1\0${kind}`);
    return hmac(sha256, this.#identity.seed, info).subarray(0, TOKEN_SECRET_BYTES);
  }

  isMember(id: PeerId): boolean {
    return this.state.nodes.has(id);
  }

  /** Whether the node's key is the key of an admin, so that its machine may state things. */
  isAdmin(identity: string): boolean {
    return userOfKey(this.state, identity)?.isAdmin ?? false;
  }

  isCoordinator(id: PeerId): boolean {
    return isCoordinator(this.state, id);
  }

  /**
   * The member of that id.
   * @param lastSeen Wall time when it was last heard of.
   * @throws {MeshError} "peer-unknown"
   */
  member(id: PeerId, lastSeen: number, wallTime: number): MemberNode {
    const node = this.state.nodes.get(id);
    if (!node) throw this.#stranger(id);
    if (expiryOf(node, lastSeen, wallTime).state !== "expired") return node;
    const text = `Cannot accept node ${id}: it was away for too long and has expired`;
    throw new MeshError("peer-unknown", text, {
      hint: `An admin renews it with: tunnelmesh node renew ${id}`,
    });
  }

  /**
   * Entries from `from` on, for a member or for who knows a join token's secret.
   * @throws {MeshError} "peer-unknown", "token-*"
   */
  read(
    reader: {
      readonly id: PeerId;
      readonly from: number;
      readonly token?: { readonly id: string; readonly signature: string } | undefined;
    },
    proof: Uint8Array,
  ): LogReadReply {
    if (!this.isMember(reader.id)) {
      if (!reader.token) throw this.#stranger(reader.id);
      const key = this.#tokenKey(reader.token.id);
      if (!verify(key, proof, fromBase64Url(reader.token.signature))) throw unknownToken();
    }
    const entries = this.log.since(reader.from, MAX_LOG_ENTRIES).map(({ signed }) => signed);
    return { entries, head: this.log.head.seq };
  }

  /**
   * Takes entries that follow, all or those before the first that is refused.
   * @throws {MeshError} why the log refuses one; "log-fork" when another one came first.
   */
  append(entries: readonly unknown[]): void {
    const taken: SignedEntry[] = [];
    try {
      for (const each of entries) taken.push(this.log.append(each).signed);
    } finally {
      if (taken.length > 0) this.keep(taken);
    }
  }

  /**
   * Admits a stranger by the entries that it brings.
   * @throws {MeshError} "token-*", "entry-*", "log-fork"
   */
  admit(id: PeerId, entries: readonly unknown[], wallTime: number): void {
    const [first, second] = entries;
    if (first === undefined) throw this.#stranger(id);
    const { entry: { body }, signer } = verifyEntry(first);
    const isOwn = body.type === "node-admit" && peerIdOf(fromBase64Url(body.identity)) === id;
    const isKnown = second === undefined || verifyEntry(second).entry.body.type === "key-rotate";
    if (!isOwn || !isKnown) {
      throw new MeshError("token-invalid", "Cannot join: the entries are not its admission");
    }
    // When it was signed is its signer's word; when it came is this machine's.
    if (body.authority !== null) expectAdmitting(this.state, body.authority, signer, wallTime);
    this.append(entries);
  }

  /**
   * Admits the first node and makes its user the mesh's admin.
   * @throws {MeshError} "token-invalid", "token-used"
   */
  begin(
    first: { readonly identity: string; readonly user: string; readonly name: string },
    proof: { readonly bytes: Uint8Array; readonly signature: Uint8Array },
    wallTime: number,
  ): void {
    const kind = FIRST_TOKENS.find((each) =>
      verify(admissionKey(this.firstSecret(each)).publicKey, proof.bytes, proof.signature)
    );
    if (!kind) throw unknownToken();
    if (!this.isNew) {
      throw new MeshError("token-used", "Cannot join: the mesh has its first node", { hint: ASK });
    }
    const wanted = UserName.safeParse(first.user).success ? first.user : first.name;
    const name = wanted === BOOTSTRAP_USER ? "admin" : wanted;
    const entries = bootstrapEntries(this.log, this.#identity, {
      name,
      key: first.identity,
      tags: sortedSet(kind === "coordinator" ? [COORDINATOR_TAG] : []),
      expiresAfterMs: DEFAULT_EXPIRES_AFTER_MS,
    }, Math.floor(wallTime));
    this.keep(entries);
  }

  #tokenKey(id: string): Uint8Array {
    const first = FIRST_TOKENS.find((kind) => tokenIdOf(this.firstSecret(kind)) === id);
    if (first) return admissionKey(this.firstSecret(first)).publicKey;
    const authority = this.state.authorities.get(id);
    if (!authority) throw unknownToken();
    return fromBase64Url(authority.key);
  }

  #stranger(id: PeerId): MeshError {
    if (this.state.revoked.has(id)) {
      return new MeshError("peer-unknown", `Cannot accept node ${id}: it was revoked`, {
        hint: "Only an admin can let it in again",
      });
    }
    return new MeshError("token-invalid", "Cannot join: this identity needs a join token", {
      hint: "Ask an admin of the mesh for one: tunnelmesh token create",
    });
  }
}

const FIRST_TOKENS: readonly FirstToken[] = ["coordinator", "node"];

function unknownToken(): MeshError {
  return new MeshError("token-invalid", "Cannot join: the mesh does not know this token", {
    hint: ASK,
  });
}
