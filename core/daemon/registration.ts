/**
 * How does a machine become a member, and speak to a coordinator with its identity afterwards?
 * Signed requests over HTTPS.
 * @module
 */
import { toBase64, toBase64Url } from "../bytes.ts";
import {
  type CallMethod,
  PATHS,
  signCall,
  signRegistration,
  tokenProofBytes,
} from "../control/envelope.ts";
import {
  ChallengeReply,
  LogReadReply,
  parseJson,
  Problem,
  type RegisterBody,
  RegisterReply,
} from "../control/messages.ts";
import { type ErrorCode, ERRORS, MeshError } from "../errors.ts";
import { type Identity, sign } from "../identity/keys.ts";
import { type JoinToken, pinsCa, tokenIdOf } from "../identity/token.ts";
import { admissionEntry, admissionKey, claimEntry, invitedUser } from "../state/admission.ts";
import { MeshLog } from "../state/log.ts";
import type { Membership } from "./membership.ts";
import type { StateDir } from "./state_dir.ts";
import { systemRandom } from "./system_random.ts";
import { fetchPinnedCa, type HttpAnswer, request, tlsOptions } from "./tls_pin.ts";

/** What a machine wants to be. */
export interface RegisterOptions {
  /** `https://host:port`, tried in order. */
  readonly urls: readonly string[];
  readonly identity: Identity;
  /** Needed by an identity that the mesh does not know. */
  readonly token: JoinToken | null;
  /** Of the mesh that it is in already; null for one that is in none. A token names the mesh, too. */
  readonly meshId: string | null;
  /** What the user is called, should this be the first node of the mesh. */
  readonly userName: string;
  /** Wall time in milliseconds. */
  readonly wallTime: () => number;
  /** PEM that is trusted without a token; null for the system's roots. */
  readonly caCertificate: string | null;
  readonly name: string;
  readonly aliases: string[];
  readonly version: string;
  /** Where the node's TLS key and certificates are kept. */
  readonly state: StateDir;
  /** Wants a certificate for the further coordinator beside the node. */
  readonly coordinator?: RegisterBody["coordinator"];
}

/** What it became. */
export interface Registration {
  readonly reply: RegisterReply;
  /** What to trust from here on; null for the system's roots. */
  readonly caCertificate: string | null;
  readonly url: string;
  /** The mesh's log with this node in it, where it had to be read; null else. */
  readonly log: MeshLog | null;
}

/** A coordinator and what it is checked against. */
interface CoordinatorAddress {
  readonly url: string;
  readonly caCertificate: string | null;
}

/** A call to be signed. */
export interface SignedCall {
  readonly method: CallMethod;
  readonly path: string;
  readonly body: object;
}

/**
 * How often a registration is tried when entries of others come between: of many machines that join
 * at once one is taken in at a time.
 */
const MAX_ATTEMPTS = 40;
/** The longest pause before the second attempt, and so much more before each further one. */
const PAUSE_MS = 300;
/** After these the next coordinator is asked. */
const ELSEWHERE: readonly ErrorCode[] = ["coordinator-unreachable", "not-leading"];
const LATE: readonly ErrorCode[] = ["log-fork", "log-gap", "log-rollback"];

/**
 * Registers with the first coordinator that answers.
 *
 * @throws {MeshError} what the coordinator answered, e.g. `token-expired`; `coordinator-untrusted`;
 * `coordinator-unreachable` when none answers.
 */
export async function register(options: RegisterOptions): Promise<Registration> {
  return await atFirstReachable(options.urls, (url) => registerAt(url, options));
}

/**
 * Acts at the first coordinator that answers, whatever it answers, unless that is that another one
 * has to be asked.
 */
async function atFirstReachable<T>(
  urls: readonly string[],
  act: (url: string) => Promise<T>,
): Promise<T> {
  let why: MeshError | undefined;
  for (const url of urls) {
    try {
      return await act(url);
    } catch (error) {
      if (!(error instanceof MeshError) || !ELSEWHERE.includes(error.code)) throw error;
      // Which coordinator has to be there says more than that one is not.
      if (why === undefined || error.code === "not-leading") why = error;
    }
  }
  throw why ?? new MeshError("usage", "Cannot reach a coordinator: none is named");
}

async function registerAt(url: string, options: RegisterOptions): Promise<Registration> {
  const { token, state } = options;
  const caCertificate = token && pinsCa(token)
    ? await fetchPinnedCa(url, token.caPin)
    : options.caCertificate;
  const coordinator = { url, caCertificate };
  const key = await tlsKey(state, "tls/key.pem");
  let invitation: Invitation | null = null;
  for (let attempt = 1;; attempt++) {
    try {
      if (token) {
        invitation = await readInvitation(coordinator, options.identity, token, invitation);
      }
      const { reply, log } = await ask(coordinator, options, key.publicKey, invitation);
      await state.writeText("tls/ca.pem", reply.caCertificate);
      if (reply.certificate) await state.writeText("tls/cert.pem", reply.certificate);
      return { reply, caCertificate, url, log };
    } catch (error) {
      // Another machine's entry came first: what follows it has to be signed anew.
      const isLate = error instanceof MeshError && LATE.includes(error.code);
      if (!isLate || attempt === MAX_ATTEMPTS) throw error;
      await pause(systemRandom.uint32() % (PAUSE_MS * attempt));
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The mesh's log as an invited machine read it, and a challenge for what it says next. */
interface Invitation {
  readonly log: MeshLog;
  readonly challenge: string;
}

/** One request to be registered, with what the mesh's log needs of a stranger. */
async function ask(
  coordinator: CoordinatorAddress,
  options: RegisterOptions,
  tlsPublicKey: string,
  invitation: Invitation | null,
): Promise<Pick<Registration, "reply" | "log">> {
  const { url, caCertificate } = coordinator;
  const { identity, token, name, aliases, version } = options;
  const challenge = invitation?.challenge ?? await challengeFor(url, identity, caCertificate);
  const admission = token && invitation
    ? admissionOf(invitation.log, token, options, challenge)
    : {};
  const envelope = signRegistration(identity, {
    challenge,
    identity: toBase64Url(identity.publicKey),
    name,
    aliases,
    version,
    tlsPublicKey,
    time: Date.now(),
    ...admission,
    ...(options.coordinator ? { coordinator: options.coordinator } : {}),
  });
  const answer = await post(url + PATHS.register, JSON.stringify(envelope), caCertificate);
  const reply = parseJson(RegisterReply, answer.body, "answer to the registration");
  if (reply.id !== identity.peerId) {
    throw new MeshError("identity-mismatch", `Cannot join: the coordinator answered ${reply.id}`);
  }
  const wanted = token?.meshId ?? options.meshId;
  if (wanted !== null && reply.meshId !== wanted) {
    const why = `the coordinator answered for mesh ${reply.meshId}, not ${wanted}`;
    throw new MeshError("entry-foreign", `Cannot join: ${why}`);
  }
  const log = invitation?.log ?? null;
  for (const entry of admission.entries ?? []) log?.append(entry);
  // The first node's entries are the coordinator's.
  return { reply, log: log?.state.nodes.has(identity.peerId) ? log : null };
}

/** What a registration says so that the mesh's log takes the node in; nothing for a member. */
export function admissionOf(
  log: MeshLog,
  { secret }: JoinToken,
  { identity, userName, wallTime }: Pick<RegisterOptions, "identity" | "userName" | "wallTime">,
  challenge: string,
): Pick<RegisterBody, "entries" | "first"> {
  if (log.state.nodes.has(identity.peerId)) return {};
  const own = toBase64Url(identity.publicKey);
  const key = admissionKey(secret);
  if (log.head.seq === 0) {
    const signature = toBase64Url(sign(key, tokenProofBytes(challenge, own)));
    return { first: { signature, user: userName } };
  }
  const at = Math.floor(wallTime());
  const admission = admissionEntry(log, tokenIdOf(secret), key, own, at);
  if (!invitedUser(log.state, secret)) return { entries: [admission] };
  const after = log.branch();
  after.append(admission);
  return { entries: [admission, claimEntry(after, secret, identity, at)] };
}

/**
 * The mesh's log as the invited may read it. That it is the log of the mesh that the token is for
 * is checked here: a coordinator cannot show another one.
 * @param known What was read before.
 */
async function readInvitation(
  coordinator: CoordinatorAddress,
  identity: Identity,
  token: JoinToken,
  known: Invitation | null,
): Promise<Invitation> {
  const key = admissionKey(token.secret);
  const own = toBase64Url(identity.publicKey);
  let challenge = await challengeFor(coordinator.url, identity, coordinator.caCertificate);
  const read = async (from: number) => {
    const signature = toBase64Url(sign(key, tokenProofBytes(challenge, own)));
    const proof = { id: tokenIdOf(token.secret), signature };
    const body = { challenge, identity: own, from, token: proof };
    const call = { method: "POST", path: PATHS.logRead, body } as const;
    const reply = LogReadReply.parse(await callWith(coordinator, identity, call));
    challenge = reply.challenge;
    return reply;
  };
  const log = await readLog(known?.log ?? null, token.meshId, read);
  return { log, challenge };
}

/**
 * Reads a mesh's log to its end.
 * @param log What is known of it; null for nothing.
 * @param read Asks for the entries from a number on.
 * @throws {MeshError} why an entry is refused; "entry-foreign" when it is another mesh's.
 */
export async function readLog(
  log: MeshLog | null,
  meshId: string,
  read: (from: number) => Promise<unknown>,
): Promise<MeshLog> {
  for (;;) {
    const { entries, head } = LogReadReply.parse(await read(log === null ? 0 : log.head.seq + 1));
    const [first, ...rest] = entries;
    const known = log;
    if (log === null) log = MeshLog.begin(first, meshId);
    for (const entry of known ? entries : rest) log.append(entry);
    if (log.head.seq >= head || entries.length === 0) return log;
  }
}

/**
 * Makes a signed call on behalf of this node; returns the parsed answer.
 *
 * @throws {MeshError} what the coordinator answered, e.g. `forbidden`; `coordinator-unreachable`.
 */
export async function callCoordinator(
  membership: Membership,
  identity: Identity,
  call: SignedCall,
): Promise<unknown> {
  return await atFirstReachable(membership.urls, (url) => callAt(url, membership, identity, call));
}

async function callAt(
  url: string,
  { caCertificate }: Membership,
  identity: Identity,
  call: SignedCall,
): Promise<unknown> {
  const challenge = await challengeFor(url, identity, caCertificate);
  const body = { ...call.body, challenge, identity: toBase64Url(identity.publicKey) };
  return await callWith({ url, caCertificate }, identity, { ...call, body });
}

/** Makes a call whose body has its challenge. */
async function callWith(
  { url, caCertificate }: CoordinatorAddress,
  identity: Identity,
  call: SignedCall,
): Promise<unknown> {
  const answer = await request(url + call.path, {
    method: call.method,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(signCall(identity, call)),
    tls: tlsOptions(caCertificate),
  });
  return JSON.parse(checked(url, answer).body || "{}");
}

async function challengeFor(
  url: string,
  identity: Identity,
  caCertificate: string | null,
): Promise<string> {
  const body = JSON.stringify({ identity: toBase64Url(identity.publicKey) });
  const answer = await post(url + PATHS.challenge, body, caCertificate);
  return parseJson(ChallengeReply, answer.body, "challenge").challenge;
}

async function post(url: string, body: string, caCertificate: string | null): Promise<HttpAnswer> {
  const headers = { "content-type": "application/json" };
  const tls = tlsOptions(caCertificate);
  return checked(url, await request(url, { method: "POST", headers, body, tls }));
}

/** Turns problem details back into the error that they describe. */
function checked(url: string, answer: HttpAnswer): HttpAnswer {
  if (answer.status >= 200 && answer.status < 300) return answer;
  let problem: Problem;
  try {
    problem = parseJson(Problem, answer.body, "problem");
  } catch {
    throw new MeshError(
      "coordinator-unreachable",
      `Cannot use ${new URL(url).origin}: it answered with status ${answer.status}`,
      { hint: "Check that the address is a coordinator's and not another web server's" },
    );
  }
  const code = problem.type.split(":").at(-1) ?? "";
  const known = Object.hasOwn(ERRORS, code) ? code as ErrorCode : "internal";
  throw new MeshError(known, problem.title, problem.detail ? { hint: problem.detail } : {});
}

/** A TLS key (P-256), made once; kept as PKCS #8. Returns the public half. */
export async function tlsKey(state: StateDir, file: string): Promise<{ publicKey: string }> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const kept = await state.readText(file);
  const kind = "PRIVATE KEY";
  if (kept !== null) {
    const der = Uint8Array.fromBase64(kept.replace(/-----[A-Z ]+-----|\s/g, ""));
    const { createPrivateKey, createPublicKey } = await import("node:crypto");
    const { Buffer } = await import("node:buffer");
    const key = createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
    const spki = createPublicKey(key).export({ format: "der", type: "spki" });
    return { publicKey: toBase64(new Uint8Array(spki)) };
  }
  const pair = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const lines = toBase64(pkcs8).match(/.{1,64}/g)!.join("\n");
  await state.writeText(
    file,
    `-----BEGIN ${kind}-----\n${lines}\n-----END ${kind}-----\n`,
  );
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  return { publicKey: toBase64(spki) };
}
