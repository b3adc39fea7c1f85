/**
 * Exits and routes in the daemon's local API.
 * @module
 */
import { z } from "zod";
import { type ApiRoute, parseBody } from "./api_route.ts";
import type { ExitReport, RoutesReport } from "./exit_report.ts";
import { ExitUse, OfferWish } from "./exit_wishes.ts";

/** What is left out stays as it is. */
const UseRequest = ExitUse.partial();
export type UseRequest = Partial<z.infer<typeof ExitUse>>;
const OfferRequest = OfferWish.partial();
export type OfferRequest = Partial<z.infer<typeof OfferWish>>;

/** What the API calls. */
export interface ExitActions {
  report(): ExitReport;
  routes(): RoutesReport;
  use(wish: UseRequest): Promise<ExitReport>;
  offer(wish: OfferRequest): Promise<RoutesReport>;
}

export const EXIT_ROUTES: Readonly<Record<string, ApiRoute<{ readonly exits: ExitActions }>>> = {
  "/v1/exits": {
    method: "GET",
    isReadOnly: true,
    handle: ({ exits }) => Response.json(exits.report()),
  },
  "/v1/exits/use": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ exits }, request) =>
      Response.json(await exits.use(given(await parseBody(request, UseRequest)))),
  },
  "/v1/routes": {
    method: "GET",
    isReadOnly: true,
    handle: ({ exits }) => Response.json(exits.routes()),
  },
  "/v1/routes/offer": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ exits }, request) =>
      Response.json(await exits.offer(given(await parseBody(request, OfferRequest)))),
  },
};

/** Without the keys that have no value. */
function given<T extends object>(
  request: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(request).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
