/**
 * `tunnelmesh join`: this machine becomes a node of a mesh.
 * @module
 */
import { z } from "zod";
import { defineCommand } from "../command.ts";
import { usage } from "../parse.ts";
import { absolutePath } from "../paths.ts";
import {
  fileOption,
  followerFlags,
  followerOptions,
  given,
  nodeFlags,
  nodeOptions,
  textOption,
} from "../setting_options.ts";
import { nodePermissions } from "../run_permissions.ts";
import { isMember, NODE_PERMISSIONS, prepareNode, runPrepared, surroundingsOf } from "../start.ts";
import { resolveNode } from "../resolve_options.ts";

const NAME = "tunnelmesh join";

export const join = defineCommand({
  name: "join",
  summary: "Join a mesh, or reconnect to it",
  description:
    "URL is the coordinator's: https://HOST:PORT, HOST:PORT or HOST (port 8443). The token is " +
    "needed once; later `join` alone reconnects. It runs in the foreground until Ctrl-C, which " +
    "undoes every change to the system. Without URL, token and an earlier mesh it starts a " +
    "coordinator as `up` does.",
  examples: [
    {
      command: "sudo tunnelmesh join https://192.0.2.7:8443 --token tm2_...",
      meaning: "The line that `tunnelmesh up` prints on the first machine",
    },
    { command: "sudo tunnelmesh join", meaning: "Reconnect to the mesh of the active context" },
    {
      command: "sudo tunnelmesh join --server mesh.example.com --token-file /etc/token " +
        "--context work",
      meaning: "Join another mesh beside the first, with the token in a file",
    },
    {
      command: "sudo tunnelmesh join https://192.0.2.7:8443 --token tm2_... --coordinator",
      meaning: "Be a further coordinator of the mesh, too",
    },
    {
      command: "sudo tunnelmesh join --config /etc/tunnelmesh/peer.yaml",
      meaning: "Take everything from a file",
    },
  ],
  input: z.strictObject({
    url: z.string().optional().meta({
      positional: 0,
      placeholder: "URL",
      description: "The coordinator",
    }),
    server: textOption("server", "URL"),
    token: textOption("auth_token", "TOKEN"),
    tokenFile: fileOption("auth_token_file", "FILE"),
    ...nodeOptions,
    ...followerOptions,
  }),
  permissions: NODE_PERMISSIONS,
  async prepare(input, context) {
    const { url, server, token, tokenFile } = input;
    if (url !== undefined && server !== undefined) {
      throw usage(NAME, "the coordinator is given twice", "Give either URL or --server");
    }
    if (token !== undefined && tokenFile !== undefined) {
      throw usage(NAME, "the token is given twice", "Give either --token or --token-file");
    }
    const file = tokenFile === undefined ? undefined : absolutePath(context.host, tokenFile);
    const files = await context.config();
    const loaded = await files.loadPeer({
      ...nodeFlags(input),
      ...followerFlags(input, context),
      ...given({
        "server": [url === undefined ? "--server" : "URL", url ?? server],
        "auth_token": ["--token", token],
        "auth_token_file": ["--token-file", file],
      }),
    });
    const { isEnabled } = loaded.config.coordinator;
    const node = resolveNode(loaded, await surroundingsOf(context, () => null));
    const isNamed = node.coordinatorUrls.length > 0 ||
      (await context.contexts()).entry(node.context).server !== null;
    if (node.token !== null && !isNamed && !isEnabled && !isMember(node)) {
      throw usage(
        NAME,
        "a token is given, but no coordinator",
        "Write `tunnelmesh join https://HOST:8443 --token TOKEN`",
      );
    }
    return await prepareNode(loaded, context);
  },
  permissionsFor: nodePermissions,
  run: (_input, _context, prepared) => runPrepared(prepared),
});
