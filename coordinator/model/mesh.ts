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
import type { SyncAlert } from "../../core/state/sync.ts";
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
  /** Puts entries on the disk, which follow those it was given before; they are there when it returns. */
  readonly keep: (entries: readonly SignedEntry[]) => void;
}

/** Which join token invited the reader, and its key's signature. */
export interface TokenProof {
  readonly id: string;
  readonly signature: string;
}

/** Who wants to read the log. */
export interface LogReader {
  readonly id: PeerId;
  readonly from: number;
  readonly token?: TokenProof | undefined;
}

/** See the module's doc. */
export class Mesh {
  readonly log: MeshLog;
  readonly #identity: Identity;
  /** Puts entries on the disk, once each. */
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
    return keyText(this.#identity);
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
   * Entries from `from` on, for a member or for whom a join token still invites.
   * @throws {MeshError} "peer-unknown", "token-*"
   */
  read(reader: LogReader, proof: Uint8Array, wallTime: number): Omit<LogReadReply, "challenge"> {
    const { id, from, token } = reader;
    if (!this.isMember(id)) {
      if (!token) throw this.#stranger(id);
      this.#expectInvited(token, proof, wallTime);
    }
    const entries = this.log.since(from, MAX_LOG_ENTRIES).map(({ signed }) => signed);
    return { entries, head: this.log.head.seq };
  }

  /**
   * Takes entries that follow: all of them, or none where one is refused. Nothing is believed
   * before it is on the disk.
   * @throws {MeshError} why the log refuses one; "log-fork" when another one came first; "token-*"
   *   for an admission by a token that is good no more, whatever date it has.
   */
  append(entries: readonly unknown[], wallTime: number): void {
    const trial = this.log.branch();
    this.#take(entries.map((each) => {
      const { entry: { body }, signer } = verifyEntry(each);
      // When it was signed is its signer's word; when it came is this machine's.
      if (body.type === "node-admit" && body.authority !== null) {
        expectAdmitting(trial.state, body.authority, signer, wallTime);
      }
      return trial.append(each).signed;
    }));
  }

  /**
   * Takes what a follower is fed but for what it has: entries that are in order, so that only the
   * log judges them. Returns why it refuses them, or null.
   */
  appendFed(entries: readonly unknown[]): SyncAlert | null {
    const { seq } = this.log.head;
    const trial = this.log.branch();
    try {
      const news = entries.filter((each) => verifyEntry(each).entry.seq > seq);
      this.#take(news.map((each) => trial.append(each).signed));
      return null;
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      const { code, message: why } = error;
      return { type: "refused", source: "the node beside", code, why };
    }
  }

  /**
   * Admits a stranger by the entries that it brings.
   * @throws {MeshError} "token-*", "entry-*", "log-fork"
   */
  admit(id: PeerId, entries: readonly unknown[], wallTime: number): void {
    const [first, second] = entries;
    if (first === undefined) throw this.#stranger(id);
    const { body } = verifyEntry(first).entry;
    const isOwn = body.type === "node-admit" && peerIdOf(fromBase64Url(body.identity)) === id;
    const isKnown = second === undefined || verifyEntry(second).entry.body.type === "key-rotate";
    if (!isOwn || !isKnown) {
      throw new MeshError("token-invalid", "Cannot join: the entries are not its admission");
    }
    this.append(entries, wallTime);
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
    this.#expectNew();
    const wanted = UserName.safeParse(first.user).success ? first.user : first.name;
    const name = wanted === BOOTSTRAP_USER ? "admin" : wanted;
    const entries = bootstrapEntries(this.log.branch(), this.#identity, {
      name,
      key: first.identity,
      tags: sortedSet(kind === "coordinator" ? [COORDINATOR_TAG] : []),
      expiresAfterMs: DEFAULT_EXPIRES_AFTER_MS,
    }, Math.floor(wallTime));
    this.#take(entries);
  }

  #take(entries: readonly SignedEntry[]): void {
    this.keep(entries);
    for (const each of entries) this.log.append(each);
  }

  /** A token that is good for nothing any more shows its holder nothing either. */
  #expectInvited(token: TokenProof, proof: Uint8Array, wallTime: number): void {
    const { id } = token;
    const first = FIRST_TOKENS.find((kind) => tokenIdOf(this.firstSecret(kind)) === id);
    const key = first
      ? keyText(admissionKey(this.firstSecret(first)))
      : this.state.authorities.get(id)?.key;
    const isProven = key !== undefined &&
      verify(fromBase64Url(key), proof, fromBase64Url(token.signature));
    if (!isProven) throw unknownToken();
    if (first) this.#expectNew();
    else expectAdmitting(this.state, id, key, wallTime);
  }

  #expectNew(): void {
    if (this.isNew) return;
    throw new MeshError("token-used", "Cannot join: the mesh has its first node", { hint: ASK });
  }

  #stranger(id: PeerId): MeshError {
    if (this.state.revoked.has(id)) {
      return new MeshError("peer-unknown", `Cannot accept node ${id}: it was revoked`, {
        hint: `Only an admin can let it in again: tunnelmesh node admit ${id}`,
      });
    }
    return new MeshError("token-invalid", "Cannot join: this identity needs a join token", {
      hint: "Ask an admin of the mesh for one: tunnelmesh token create",
    });
  }
}

const FIRST_TOKENS: readonly FirstToken[] = ["coordinator", "node"];

function keyText({ publicKey }: Identity): string {
  return toBase64Url(publicKey);
}

function unknownToken(): MeshError {
  return new MeshError("token-invalid", "Cannot join: the mesh does not know this token", {
    hint: ASK,
  });
}
