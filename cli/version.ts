/**
 * Which version is this? The one that `deno.json` names.
 * @module
 */
import manifest from "../deno.json" with { type: "json" };

/** Semantic version, e.g. `0.1.0`. */
export const VERSION: string = manifest.version;
