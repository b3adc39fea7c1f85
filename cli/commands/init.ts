/**
 * `tunnelmesh init`: an identity key, and configuration files to fill in. Neither is needed first:
 * `up` and `join` work without.
 * @module
 */
import { z } from "zod";
import { exampleFile } from "../../core/config/example.ts";
import { PeerFile, ServerFile } from "../../core/config/schema.ts";
import { MeshError } from "../../core/errors.ts";
import { defineCommand, type PlaceOrPath } from "../command.ts";
import { exists, replaceFile } from "../files.ts";
import type { Host } from "../host.ts";
import { ensureIdentity } from "../identity_file.ts";
import { absolutePath, directoryOf, identityPath, userDir } from "../paths.ts";
import { replaceable } from "../places.ts";

export const init = defineCommand({
  name: "init",
  summary: "Make an identity key and write configuration files",
  description:
    "Files hold every key with its meaning, commented out at its default, and are readable by " +
    "their owner only. Without --server, --peer and --output only the key is made. --server " +
    "with --peer writes a coordinator's file that runs a node too.",
  examples: [
    { command: "tunnelmesh init", meaning: "Only the identity key, ~/.tunnelmesh/id_ed25519" },
    { command: "tunnelmesh init --peer", meaning: "A node's file, ./peer.yaml" },
    { command: "tunnelmesh init --server", meaning: "A coordinator's file, ./server.yaml" },
    {
      command: "tunnelmesh init --output ~/.tunnelmesh/config.yaml",
      meaning: "A node's file where it is found from everywhere",
    },
  ],
  input: z.strictObject({
    server: z.boolean().default(false).meta({ description: "Write a coordinator's file" }),
    peer: z.boolean().default(false).meta({ description: "Write a node's file" }),
    output: z.string().optional().meta({
      alias: "o",
      description: "File to write, or folder for server.yaml or peer.yaml",
      placeholder: "FILE",
      whenAbsent: "the working directory",
      completes: "files",
    }),
    force: z.boolean().default(false).meta({
      alias: "f",
      description: "Replace a file that exists",
    }),
  }),
  permissions: {
    read: ["$config", "$identity"],
    write: ["$config", "$identity"],
    sys: true,
  },
  async prepare({ force, ...wanted }, { globals, host, contexts }) {
    const path = targetOf(host, wanted);
    if (path !== null && exists(path) && !force) {
      throw new MeshError("usage", `Cannot write ${path}: it exists`, {
        hint: "Add --force to replace it, or name another file by --output",
      });
    }
    if (path !== null && !exists(directoryOf(path)) && directoryOf(path) !== userDir(host)) {
      throw new MeshError("usage", `Cannot write ${path}: there is no such folder`, {
        hint: `Make it first: \`mkdir -p ${directoryOf(path)}\``,
      });
    }
    const context = (await contexts()).current(globals.context);
    const key = absolutePath(host, globals.identity ?? identityPath(host, context));
    return { path, key };
  },
  permissionsFor({ path }) {
    const files: PlaceOrPath[] = ["$identity", ...path === null ? [] : replaceable(path)];
    return { read: files, write: files };
  },
  async run({ server, peer, force }, { host, out }, { path, key }) {
    const identity = await ensureIdentity(key, host.owner);
    if (path !== null) {
      const text = server ? serverText(peer) : peerText();
      replaceFile(path, text, { owner: host.owner, isNew: !force });
    }
    out.document({ identity, file: path }, () => [
      identity.isNew
        ? `Made the identity key ${identity.path}`
        : `The identity key ${identity.path} is there`,
      `  ${identity.fingerprint}`,
      `  peer id ${identity.peerId}`,
      ...(path === null ? [] : [`Wrote ${path}`]),
      "",
      ...nextSteps(path, server),
    ]);
  },
});

interface Wanted {
  readonly server: boolean;
  readonly peer: boolean;
  readonly output?: string | undefined;
}

/** The file to write, or null when only the key is wanted. */
function targetOf(host: Host, { server, peer, output }: Wanted): string | null {
  if (!server && !peer && output === undefined) return null;
  const name = server ? "server.yaml" : "peer.yaml";
  const path = absolutePath(host, output ?? ".");
  if (output !== undefined && !output.endsWith("/") && !isFolder(path)) return path;
  return `${path === "/" ? "" : path}/${name}`;
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

const HOW_TO = "A line `#key: value` shows a key at its default or as an example; remove the #";

function peerText(): string {
  return exampleFile(PeerFile, {
    title: [
      "TunnelMesh node. Nothing here is needed: `tunnelmesh up` and `join` work without a file.",
      `${HOW_TO} to set it.`,
      "Environment variables (TUNNELMESH_TUN_MTU, ...) and options win over this file.",
    ],
    values: {},
  });
}

function serverText(withNode: boolean): string {
  return exampleFile(ServerFile, {
    title: [
      "TunnelMesh coordinator, for `tunnelmesh serve`.",
      `${HOW_TO} to set it.`,
      "Environment variables (TUNNELMESH_LISTEN, ...) and options win over this file.",
    ],
    // A part with a setting exists, so that a node runs.
    values: withNode ? { "join_mesh.dns.enabled": true } : {},
  });
}

function nextSteps(path: string | null, isServer: boolean): string[] {
  if (path === null) return ["Next: `sudo tunnelmesh up`, or `sudo tunnelmesh join URL --token T`"];
  return [`Next: \`sudo tunnelmesh ${isServer ? "serve" : "join"} --config ${path}\``];
}
