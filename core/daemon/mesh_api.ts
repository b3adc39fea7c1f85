/**
 * The part of the local API that is about the mesh's log: users, members, tokens, policy. Only the
 * daemon's own user may see or change it.
 * @module
 */
import { type ApiRoute, parseBody } from "./api_route.ts";
import type { MeshAdmin } from "./mesh_admin.ts";
import { AppendRequest, DraftRequest, TokenRequest, TokenRevokeRequest } from "./mesh_report.ts";

/** What the routes call. */
export type MeshActions = Pick<
  MeshAdmin,
  "report" | "entries" | "draft" | "append" | "state" | "createToken" | "withdrawToken"
>;

type MeshRoute = ApiRoute<{ readonly mesh: MeshActions }>;

/** Routes by path. */
export const MESH_ROUTES: Readonly<Record<string, MeshRoute>> = {
  "/v1/mesh": {
    method: "GET",
    isReadOnly: false,
    handle: ({ mesh }) => Response.json(mesh.report()),
  },
  "/v1/mesh/log": {
    method: "GET",
    isReadOnly: false,
    handle: ({ mesh }) => Response.json(mesh.entries()),
  },
  "/v1/mesh/draft": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ mesh }, request) =>
      Response.json(mesh.draft((await parseBody(request, DraftRequest)).body)),
  },
  "/v1/mesh/append": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ mesh }, request) => {
      const wanted = await parseBody(request, AppendRequest);
      return Response.json(
        await ("signed" in wanted ? mesh.append(wanted.signed) : mesh.state(wanted.body)),
      );
    },
  },
  "/v1/tokens": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ mesh }, request) =>
      Response.json(await mesh.createToken(await parseBody(request, TokenRequest))),
  },
  "/v1/tokens/revoke": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ mesh }, request) => {
      await mesh.withdrawToken((await parseBody(request, TokenRevokeRequest)).id);
      return Response.json({});
    },
  },
};
