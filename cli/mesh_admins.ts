/**
 * What is stated when users become admins, or stop being ones? `user promote` and
 * `group add-member admins` are the same.
 * @module
 */
import type { Body } from "../core/state/bodies.ts";
import { findUser, type MeshChange, type Standing } from "./mesh_standing.ts";

/** The change that makes each of `names` an admin, or takes that away. */
export function adminChange(
  { mesh, state }: Standing,
  names: readonly string[],
  isAdmin: boolean,
): MeshChange {
  const users = names.map((name) => findUser(mesh, name));
  const concerned = new Set(users.map(({ name }) => name));
  const bodies = users.map(({ id }): Body =>
    isAdmin
      ? { type: "admin-add", user: id, key: state.users.get(id)!.key }
      : { type: "admin-remove", user: id }
  );
  return {
    bodies,
    after: (view) => ({
      ...view,
      users: view.users.map((user) => concerned.has(user.name) ? { ...user, isAdmin } : user),
    }),
    question: null,
    done: users.map(({ name }) => `User ${name} is ${isAdmin ? "an" : "no"} admin now`),
    document: { users: [...concerned], isAdmin },
  };
}
