/**
 * One address of the local API, and how its requests are read.
 * @module
 */
import { z } from "zod";
import { MeshError } from "../errors.ts";

/** See the module's doc; `Actions` is what it calls. */
export interface ApiRoute<Actions> {
  readonly method: "GET" | "POST";
  /** Whether it changes nothing, and so is offered to every local user. */
  readonly isReadOnly: boolean;
  handle(actions: Actions, request: Request, signal: AbortSignal): Promise<Response> | Response;
}

/** The body of a request. @throws {MeshError} `usage` */
export async function parseBody<S extends z.ZodType>(
  request: Request,
  schema: S,
): Promise<z.infer<S>> {
  return parseAs(schema, await request.json().catch(() => null));
}

/** The query of a request. @throws {MeshError} `usage` */
export function parseQuery<S extends z.ZodType>(request: Request, schema: S): z.infer<S> {
  return parseAs(schema, Object.fromEntries(new URL(request.url).searchParams));
}

function parseAs<S extends z.ZodType>(schema: S, value: unknown): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new MeshError("usage", `Cannot use request: ${z.prettifyError(parsed.error)}`);
}
