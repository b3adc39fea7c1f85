/**
 * A further coordinator of a mesh: which one it follows, and the files that it has from the node
 * beside it.
 *
 * That node makes the folder before the coordinator starts: a copy of the mesh's log, the mesh's
 * root certificate, and a server certificate that the leading coordinator issued. Everything that
 * comes later comes by the pipe (`core/control/feed.ts`).
 * @module
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { CoordinatorUrl, MeshId, PrefixText } from "../core/control/messages.ts";
import { errorMessage, MeshError } from "../core/errors.ts";
import type { Certifier } from "./app.ts";
import { type PemPair, readCertificate } from "./tls.ts";

/** What a follower's folder has and a leading coordinator's has not. */
export const FOLLOWER_FILE = "follower.json";

/** The content of that file. */
export const Follower = z.strictObject({
  meshId: MeshId,
  cidr4: PrefixText,
  /** Where the coordinator is that leads. */
  leader: CoordinatorUrl,
});
export type Follower = z.infer<typeof Follower>;

/** Whom the coordinator of this folder follows; null for one that leads. @throws {MeshError} */
export function readFollower(dataDir: string): Follower | null {
  const path = `${dataDir}/${FOLLOWER_FILE}`;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw unusable(path, error);
  }
  try {
    return Follower.parse(JSON.parse(text));
  } catch (error) {
    throw unusable(path, error);
  }
}

/** A follower passes the mesh's root on and certifies nobody. @throws {MeshError} */
export function followerCertifier(dataDir: string, { leader }: Follower): Certifier {
  const path = `${dataDir}/ca.crt`;
  let certificate: string;
  try {
    certificate = readFileSync(path, "utf8");
  } catch (error) {
    throw unusable(path, error);
  }
  const refuse = () => {
    const text = `Cannot certify a key: only the coordinator at ${leader} does`;
    return Promise.reject(new MeshError("not-leading", text));
  };
  return { certificate, issue: refuse, certifyCoordinator: refuse };
}

/** The server's certificate as the node beside it keeps it. @throws {MeshError} */
export function followerCertificate(dataDir: string): PemPair {
  return readCertificate({ certFile: `${dataDir}/tls.crt`, keyFile: `${dataDir}/tls.key` });
}

function unusable(path: string, cause: unknown): MeshError {
  const why = errorMessage(cause);
  return new MeshError("state-invalid", `Cannot follow a coordinator: ${path}: ${why}`, {
    cause,
    hint: "Start it with its node, which makes these files: tunnelmesh up",
  });
}
