/**
 * Operational errors: failures that a caller or user can act upon, each with a stable code.
 * @module
 */

/**
 * Every code with the CLI exit status and HTTP status it maps to.
 * Exit status: 0 done, 1 failed, 2 wrong usage, 3 not connected, 4 refused by policy.
 */
export const ERRORS = {
  "address-clash": { exit: 1, http: 409 },
  "address-pool-exhausted": { exit: 1, http: 409 },
  "already-running": { exit: 1, http: 409 },
  "authority-exceeded": { exit: 4, http: 403 },
  "challenge-invalid": { exit: 4, http: 401 },
  "config-invalid": { exit: 2, http: 400 },
  "context-unknown": { exit: 2, http: 404 },
  "coordinator-unreachable": { exit: 3, http: 502 },
  "coordinator-untrusted": { exit: 4, http: 502 },
  "daemon-unreachable": { exit: 3, http: 502 },
  "entry-conflict": { exit: 1, http: 409 },
  "entry-forbidden": { exit: 4, http: 403 },
  "entry-foreign": { exit: 4, http: 400 },
  "entry-invalid": { exit: 4, http: 400 },
  "entry-time": { exit: 1, http: 409 },
  "forbidden": { exit: 4, http: 403 },
  "identity-mismatch": { exit: 4, http: 403 },
  "internal": { exit: 1, http: 500 },
  "key-invalid": { exit: 1, http: 400 },
  "last-admin": { exit: 1, http: 409 },
  "log-fork": { exit: 4, http: 409 },
  "log-gap": { exit: 1, http: 409 },
  "log-rollback": { exit: 4, http: 409 },
  "name-invalid": { exit: 2, http: 400 },
  "name-reserved": { exit: 2, http: 403 },
  "name-taken": { exit: 2, http: 409 },
  "name-unknown": { exit: 1, http: 404 },
  "passphrase-wrong": { exit: 1, http: 400 },
  "peer-unknown": { exit: 1, http: 404 },
  "policy-unfit": { exit: 1, http: 409 },
  "privilege-missing": { exit: 1, http: 403 },
  "protocol-invalid": { exit: 1, http: 400 },
  "rate-limited": { exit: 1, http: 429 },
  "record-invalid": { exit: 4, http: 400 },
  "request-too-large": { exit: 1, http: 413 },
  "snapshot-invalid": { exit: 4, http: 400 },
  "state-invalid": { exit: 1, http: 500 },
  "system": { exit: 1, http: 500 },
  "timeout": { exit: 1, http: 504 },
  "token-expired": { exit: 4, http: 403 },
  "token-invalid": { exit: 4, http: 403 },
  "token-revoked": { exit: 4, http: 403 },
  "token-used": { exit: 4, http: 403 },
  "unsupported": { exit: 1, http: 501 },
  "usage": { exit: 2, http: 400 },
} as const;

/** A stable name that scripts, logs and the admin UI may match on. */
export type ErrorCode = keyof typeof ERRORS;

/** A failure its caller can act on. A bug is an assertion; a bad packet is a `Drop`. */
export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: ErrorCode;
  /** What the user can do next, one sentence; shown after the message. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions & { hint?: string } = {}) {
    super(message, options);
    this.code = code;
    this.hint = options.hint;
  }
}

/** The text of anything thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
