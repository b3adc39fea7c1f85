/**
 * What an endpoint of the daemon's local API is.
 * @module
 */
import { z } from "zod";
import { MeshError } from "../errors.ts";

/** One endpoint, on what it calls. */
export interface ApiRoute<Actions> {
  readonly method: "GET" | "POST";
  /** Whether it changes nothing, and so is offered to every local user. */
  readonly isReadOnly: boolean;
  handle(actions: Actions, request: Request, signal: AbortSignal): Promise<Response> | Response;
}

/** @throws {MeshError} `usage` when the body is not what the schema wants. */
export async function parseBody<S extends z.ZodType>(
  request: Request,
  schema: S,
): Promise<z.infer<S>> {
  const parsed = schema.safeParse(await request.json().catch(() => null));
  if (parsed.success) return parsed.data;
  throw new MeshError("usage", `Cannot use request: ${z.prettifyError(parsed.error)}`);
}
