/**
 * Which settings ask for a part that this version does not have? Each is named, so that nobody
 * relies on what is not there, e.g. on a filter that denies by default.
 * @module
 */
import type { Setting } from "./schema.ts";
import { type Tree, valueAt } from "./source.ts";

/** One sentence per setting that would switch on a missing part. */
export function unavailableWarnings(settings: readonly Setting[], tree: Tree): string[] {
  return settings.filter(({ path, node }) => {
    if (!node.unavailable) return false;
    const keys = path.split(".");
    const value = valueAt(tree, keys);
    if (isInert(value, node.default)) return false;
    const switchPath = [...keys.slice(0, -1), "enabled"];
    const isSwitch = keys.at(-1) === "enabled";
    const isSwitchOfPart = settings.some((other) =>
      other.path === switchPath.join(".") && other.node.unavailable
    );
    // A part that is switched off, or whose switch is reported already, needs no word per setting.
    return isSwitch || !isSwitchOfPart || valueAt(tree, switchPath) === undefined;
  }).map(({ path, node }) =>
    `${path} has no effect: this version does not have ${node.unavailable}`
  );
}

/** Whether a value asks for nothing: absent, off, empty, or what it would be anyway. */
function isInert(value: unknown, fallback: unknown): boolean {
  if (value === undefined || value === false || value === "") return true;
  if (Array.isArray(value) && value.length === 0) return true;
  return JSON.stringify(value) === JSON.stringify(fallback);
}
