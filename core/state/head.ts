/**
 * How far does somebody say the log goes, and how is it proved that they said two things?
 *
 * A head is a signed statement "the log's entry `seq` has this hash, I say so at this time". Whoever
 * serves the log signs one, so that what it told one node can be shown to another. Two heads of one
 * key that no single log can contain are an {@link EquivocationProof}, which anyone can check
 * without trusting whoever found it. It convicts the key: a coordinator that was restored from an
 * old backup and went on from there said two things as well.
 *
 * A head of an admin's key also says how fresh a log is that contains it.
 * @module
 */
import { z } from "zod";
import { MeshId } from "../control/messages.ts";
import { MeshError } from "../errors.ts";
import type { Identity } from "../identity/keys.ts";
import { SignedRecord, signRecord, verifyRecord } from "../identity/record.ts";
import { Hash } from "./bodies.ts";
import { SignedEntry, verifyEntry } from "./entry.ts";
import type { Head, MeshLog } from "./log.ts";

const KIND = "log-head";
/** Longest chain in a proof; a longer one is not made. */
export const MAX_PROOF_ENTRIES = 256;

export const HeadStatement = z.strictObject({
  meshId: MeshId,
  seq: z.int().nonnegative(),
  hash: Hash,
  /** The signer's wall time. */
  at: z.int().nonnegative().max(8.64e15),
});
export type HeadStatement = Readonly<z.infer<typeof HeadStatement>>;

/** A head whose signature is right. */
export interface VerifiedHead extends HeadStatement {
  /** base64url of the key that signed it. */
  readonly signer: string;
  readonly signed: SignedRecord;
}

/** Two heads of one signer, `a` not after `b`, and the entries between that show the contradiction. */
export const EquivocationProof = z.strictObject({
  a: SignedRecord,
  b: SignedRecord,
  /** Entries `a.seq + 1` to `b.seq`; none when both have the same number. */
  chain: z.array(SignedEntry).max(MAX_PROOF_ENTRIES),
});
export type EquivocationProof = z.infer<typeof EquivocationProof>;

export function signHead(identity: Identity, statement: HeadStatement): SignedRecord {
  return signRecord(identity, KIND, HeadStatement.parse(statement));
}

/** A signed head is given to everyone for so long; how fresh it is matters to nobody below that. */
const HEAD_KEPT_MS = 60_000;

/** Signs heads as {@link signHead} does, one that was just signed not again. */
export function headSigner(
  identity: Identity,
  meshId: string,
  wallTime: () => number,
): (head: Head) => SignedRecord {
  let kept: { readonly hash: Hash; readonly at: number; readonly signed: SignedRecord } | null =
    null;
  return ({ seq, hash }) => {
    const at = Math.floor(wallTime());
    if (kept?.hash === hash && Math.abs(at - kept.at) < HEAD_KEPT_MS) return kept.signed;
    kept = { hash, at, signed: signHead(identity, { meshId, seq, hash, at }) };
    return kept.signed;
  };
}

/**
 * What a head says, when its word is not needed: of one who says what is known anyway.
 * @returns null for what is no head.
 */
export function peekHead({ payload }: SignedRecord): Head | null {
  try {
    const parsed = HeadStatement.safeParse(JSON.parse(payload));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** @throws {MeshError} "record-invalid", "entry-foreign" */
export function verifyHead(signed: unknown, meshId: string): VerifiedHead {
  const { signer, payload } = verifyRecord(signed, KIND);
  const parsed = HeadStatement.safeParse(payload);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error));
  if (parsed.data.meshId !== meshId) {
    const other = parsed.data.meshId;
    throw new MeshError("entry-foreign", `Cannot use head: it is of mesh ${other}`);
  }
  return { ...parsed.data, signer, signed: SignedRecord.parse(signed) };
}

/**
 * Looks for two of one signer's heads that contradict each other, with `log` as the witness.
 * @param heads All of the same signer.
 */
export function findEquivocation(
  heads: readonly VerifiedHead[],
  log: MeshLog,
): EquivocationProof | null {
  const sorted = [...heads].sort((a, b) => a.seq - b.seq);
  for (const [i, a] of sorted.entries()) {
    for (const b of sorted.slice(i + 1)) {
      if (a.seq === b.seq) {
        if (a.hash !== b.hash) return { a: a.signed, b: b.signed, chain: [] };
        continue;
      }
      if (b.seq - a.seq > MAX_PROOF_ENTRIES) break;
      if (log.contains(b) !== true || log.contains(a) !== false) continue;
      const chain = log.since(a.seq + 1, b.seq - a.seq).map(({ signed }) => signed);
      return { a: a.signed, b: b.signed, chain };
    }
  }
  return null;
}

/**
 * Checks a proof from anyone.
 * @returns the key that it convicts.
 * @throws {MeshError} "record-invalid", "entry-foreign", "entry-invalid": it proves nothing.
 */
export function verifyEquivocation(proof: EquivocationProof, meshId: string): string {
  const a = verifyHead(proof.a, meshId);
  const b = verifyHead(proof.b, meshId);
  if (a.signer !== b.signer) throw invalid("two keys signed the heads");
  if (proof.chain.length !== b.seq - a.seq) throw invalid("the entries between are not all there");
  // Not who signed these entries matters, but that `b` stands for them and not for `a`.
  const chain = proof.chain.map(verifyEntry);
  const last = chain.at(-1);
  if (!last) {
    if (a.hash !== b.hash) return a.signer;
    throw invalid("both heads are the same");
  }
  const isLinked = chain.every(({ entry }, i) =>
    entry.seq === a.seq + 1 + i && (i === 0 || entry.previous === chain[i - 1]!.hash)
  );
  if (!isLinked || last.hash !== b.hash) {
    throw invalid("the entries do not lead to the second head");
  }
  if (chain[0]!.entry.previous === a.hash) throw invalid("one log contains both heads");
  return a.signer;
}

function invalid(why: string): MeshError {
  return new MeshError("record-invalid", `Cannot use head: ${why}`);
}
