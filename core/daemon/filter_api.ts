/**
 * The packet filter's part of the local API.
 * @module
 */
import { type ApiRoute, parseBody, parseQuery } from "./api_route.ts";
import {
  type FilterActions,
  FilterAddRequest,
  FilterRemoveRequest,
  FilterTraceRequest,
} from "./filter_types.ts";

type FilterRoute = ApiRoute<{ readonly filter: FilterActions }>;

/** Routes by path. Who may not change rules may still see why a packet is dropped. */
export const FILTER_ROUTES: Readonly<Record<string, FilterRoute>> = {
  "/v1/filter": {
    method: "GET",
    isReadOnly: true,
    handle: ({ filter }) => Response.json(filter.report()),
  },
  "/v1/filter/trace": {
    method: "GET",
    isReadOnly: true,
    handle: ({ filter }, request) =>
      Response.json(filter.trace(parseQuery(request, FilterTraceRequest))),
  },
  "/v1/filter/add": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ filter }, request) =>
      Response.json(filter.add(await parseBody(request, FilterAddRequest))),
  },
  "/v1/filter/remove": {
    method: "POST",
    isReadOnly: false,
    handle: async ({ filter }, request) =>
      Response.json(filter.remove(await parseBody(request, FilterRemoveRequest))),
  },
};
