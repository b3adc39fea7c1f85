/**
 * Which name does a node get, and which aliases may it have?
 *
 * Names and aliases share one space, since both become DNS names of the mesh. A wanted name that
 * another identity holds gets `-2`, `-3` and so on; an alias is asked for by hand, so a clash of
 * aliases is an error.
 * @module
 */
import { MeshError } from "../../core/errors.ts";
import { type PeerId, type PeerName, RESERVED_NAMES } from "../../core/ids.ts";

/** Longest DNS label (RFC 1035 section 2.3.4). */
const LABEL_LENGTH = 63;

/** Who holds a name or alias, or undefined. */
export type NameHolder = (name: string) => PeerId | undefined;

/**
 * The name that `id` gets when it wants `wanted`.
 * @throws {MeshError} "name-reserved" for names of the mesh itself.
 */
export function chooseName(wanted: PeerName, id: PeerId, holder: NameHolder): PeerName {
  refuseReserved(wanted, "name");
  const isFree = (name: string) => (holder(name) ?? id) === id && !RESERVED_NAMES.includes(name);
  if (isFree(wanted)) return wanted;
  for (let number = 2;; number++) {
    const suffix = `-${number}`;
    const stem = wanted.slice(0, LABEL_LENGTH - suffix.length).replace(/-+$/, "");
    if (isFree(stem + suffix)) return stem + suffix;
  }
}

/**
 * Aliases without repetitions.
 * @throws {MeshError} "name-taken", "name-reserved"
 */
export function chooseAliases(
  wanted: readonly string[],
  id: PeerId,
  holder: NameHolder,
): readonly string[] {
  const aliases = [...new Set(wanted)];
  for (const alias of aliases) {
    refuseReserved(alias, "alias");
    if ((holder(alias) ?? id) === id) continue;
    throw new MeshError("name-taken", `Cannot use alias "${alias}": another node has it`, {
      hint: "Choose another alias",
    });
  }
  return aliases;
}

function refuseReserved(name: string, kind: "name" | "alias"): void {
  if (!RESERVED_NAMES.includes(name)) return;
  throw new MeshError("name-reserved", `Cannot use ${kind} "${name}": the mesh itself uses it`, {
    hint: `Choose another ${kind}`,
  });
}
