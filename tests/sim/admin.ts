/**
 * An admin's machine states something about the mesh, as `core/daemon/mesh_admin.ts` does.
 * @module
 */
import { toBase64Url } from "../../core/bytes.ts";
import { MeshError } from "../../core/errors.ts";
import { TOKEN_SECRET_BYTES, tokenIdOf } from "../../core/identity/token.ts";
import { MAX_PEERS } from "../../core/control/messages.ts";
import { admissionKey } from "../../core/state/admission.ts";
import { type Body, policyHash, type UserId } from "../../core/state/bodies.ts";
import { DEFAULT_EXPIRES_AFTER_MS } from "../../core/state/expiry.ts";
import { LATENCY } from "./coordinator.ts";
import type { Host } from "./host.ts";
import { appendLog } from "./membership.ts";
import type { World } from "./world.ts";

const MAX_ATTEMPTS = 8;
/** How long an entry that came between may take to come here. */
const RETURN_MS = 5_000;
const POLL_MS = 10;

/** States something at once. @throws {MeshError} why it is refused. */
export function state(host: Host, ...bodies: readonly Body[]): void {
  appendLog(host.applicant, host.mesh.sign(bodies));
}

/** Something that a machine wants to have in the log. */
export interface Proposal {
  /** Null while it is not known; then "taken", or why not. */
  outcome: "taken" | MeshError | null;
  attempts: number;
}

/** States something with the time that a request takes, again when other entries come between. */
export function propose(world: World, host: Host, ...bodies: readonly Body[]): Proposal {
  const proposal: Proposal = { outcome: null, attempts: 0 };
  const attempt = () => {
    proposal.attempts++;
    const { seq } = host.mesh.log.head;
    const { applicant } = host;
    try {
      const entries = host.mesh.sign(bodies);
      world.after(LATENCY, () => {
        const answer = outcomeOf(() => appendLog(applicant, entries));
        world.after(LATENCY, () => {
          const isLate = answer instanceof MeshError && answer.code.startsWith("log-");
          if (isLate && proposal.attempts < MAX_ATTEMPTS) whenBeyond(seq, RETURN_MS);
          else proposal.outcome = answer;
        });
      });
    } catch (error) {
      proposal.outcome = meshError(error);
    }
  };
  const whenBeyond = (seq: number, left: number) => {
    if (left <= 0 || host.mesh.log.head.seq > seq) return attempt();
    world.after(POLL_MS, () => whenBeyond(seq, left - POLL_MS));
  };
  attempt();
  return proposal;
}

/** Makes a token for any number of machines of the host's user. */
export function createToken(host: Host, secret: Uint8Array): void {
  state(host, tokenBody(secret, host.applicant.identity.peerId));
}

/** What states the right of such a token. */
export function tokenBody(secret: Uint8Array, user: UserId): Body {
  return {
    type: "token-authority",
    authority: tokenIdOf(secret),
    key: toBase64Url(admissionKey(secret).publicKey),
    limits: {
      maxNodes: MAX_PEERS,
      expiresAt: null,
      user,
      tags: [],
      expiresAfterMs: DEFAULT_EXPIRES_AFTER_MS,
    },
    note: "simulation",
  };
}

/** The same secret in each run. */
export const TOKEN_SECRET: Uint8Array = new Uint8Array(TOKEN_SECRET_BYTES).fill(7);

/** What sets a policy of one file. */
export function policyBody(text: string): Body {
  const documents = [{ file: "policy.yaml", text }];
  return { type: "policy-set", documents, hash: policyHash(documents) };
}

function outcomeOf(act: () => void): "taken" | MeshError {
  try {
    act();
    return "taken";
  } catch (error) {
    return meshError(error);
  }
}

function meshError(error: unknown): MeshError {
  if (error instanceof MeshError) return error;
  throw error;
}
