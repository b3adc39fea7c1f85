/**
 * How does a command state something in the mesh's log? The daemon signs with its own key, or the
 * command with the one that `--key` names.
 * @module
 */
import { z } from "zod";
import { loadOrCreateIdentity } from "../core/daemon/identity_file.ts";
import type { AppendReport } from "../core/daemon/mesh_report.ts";
import { MeshError } from "../core/errors.ts";
import type { Identity } from "../core/identity/keys.ts";
import { Body } from "../core/state/bodies.ts";
import { type SignedEntry, signEntry } from "../core/state/entry.ts";
import type { ControlClient } from "./control_client.ts";
import type { Host } from "./host.ts";
import { absolutePath } from "./paths.ts";
import { askPassphrase } from "./prompt.ts";

/** How often a change is signed anew when another one came first. */
const MAX_ATTEMPTS = 4;

/** `--key` of commands that change the mesh. */
export const KEY = z.string().min(1).optional().meta({
  description: "Sign with this OpenSSH private key instead of the daemon's",
  placeholder: "FILE",
  completes: "files",
});

/** `--yes` of commands that ask before they change something. */
export const YES = z.boolean().default(false).meta({ alias: "y", description: "Do not ask" });

/** The key that `--key` names; null for the daemon's. Asks for its passphrase. */
export async function loadSigner(host: Host, key: string | undefined): Promise<Identity | null> {
  if (key === undefined) return null;
  const path = absolutePath(host, key);
  if (path.endsWith(".pub")) {
    throw new MeshError("key-invalid", `Cannot sign with ${key}: it is a public key`, {
      hint: `Name the private one: --key ${key.slice(0, -".pub".length)}`,
    });
  }
  const askFor = () => askPassphrase(host, path);
  return (await loadOrCreateIdentity(path, { create: false, askPassphrase: askFor })).identity;
}

/** Where and by whom something is stated. */
export interface Stating {
  readonly client: ControlClient;
  readonly meshId: string;
  /** Null lets the daemon sign. */
  readonly signer: Identity | null;
}

/**
 * States `body` and waits until the coordinator has taken it.
 * @throws {MeshError} `entry-forbidden`, `entry-conflict`, `last-admin`, `coordinator-unreachable`
 */
export async function state(stating: Stating, body: Body): Promise<AppendReport> {
  const { client, signer } = stating;
  for (let attempt = 1;; attempt++) {
    try {
      return await client.append(signer ? { signed: await sign(stating, signer, body) } : { body });
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      // Somebody else's change took the place; what was refused for another reason stays so.
      if (error.code === "log-fork" && attempt < MAX_ATTEMPTS) continue;
      throw withHint(error, signer);
    }
  }
}

async function sign(
  { client, meshId }: Stating,
  signer: Identity,
  body: Body,
): Promise<SignedEntry> {
  const { entry } = await client.draft(body);
  // The key may be worth more than this machine: it signs what was asked for and nothing else.
  const isSame = JSON.stringify(Body.parse(entry.body)) === JSON.stringify(Body.parse(body));
  if (!isSame || entry.meshId !== meshId) {
    throw new MeshError("protocol-invalid", "Cannot sign: the daemon drafted another change", {
      hint: "Do not trust this machine with the key",
    });
  }
  return signEntry(signer, entry);
}

function withHint(error: MeshError, signer: Identity | null): MeshError {
  if (error.code !== "entry-forbidden" || error.hint !== undefined) return error;
  const hint = signer === null
    ? "This node's key is no admin's: run it on an admin's machine, or sign with --key FILE"
    : "That key is no admin's: `tunnelmesh user list` shows the admins' keys";
  return new MeshError(error.code, error.message, { cause: error, hint });
}
