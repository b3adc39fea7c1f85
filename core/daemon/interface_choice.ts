/**
 * Which interface does a context get beside those of other contexts, and may its mesh's addresses
 * stand beside theirs?
 *
 * A name that the user did not choose gives way to one that is in use, and the name found is kept,
 * so that a restart has the same one whatever else runs then.
 * @module
 */
import { z } from "zod";
import { MeshError } from "../errors.ts";
import { formatPrefix, type Prefix, prefixesOverlap } from "../ip.ts";
import {
  contextOf,
  hasInterface,
  interfaceAlias,
  type MeshInterface,
} from "../platform/linux/mesh_interfaces.ts";
import type { StateDir } from "./state_dir.ts";

const FILE = "interface.json";
const KeptName = z.strictObject({ wanted: z.string(), name: z.string() });

/** Linux's limit, in bytes. */
const MAX_NAME = 15;
/** Numbers tried after a name that is in use. */
const MAX_NUMBER = 99;
/** The kernel takes a killed daemon's interface away within moments. */
const VANISH_MS = 3_000;
const LOOK_MS = 20;

/** What the interface of a context shall be called. */
export interface WantedInterface {
  readonly context: string;
  readonly name: string;
  /** The user chose the name: no other one will do. */
  readonly isFixed: boolean;
}

/** What is known of the machine's interfaces; tests give their own. */
export interface InterfaceView {
  has(name: string): boolean;
  alias(name: string): string;
}

const SYSTEM: InterfaceView = { has: hasInterface, alias: interfaceAlias };

/** The name to use, kept for the next start. The caller holds the state directory. */
export async function chooseInterface(
  state: StateDir,
  wanted: WantedInterface,
  system: InterfaceView = SYSTEM,
): Promise<string> {
  const { context, name, isFixed } = wanted;
  const kept = await state.readJson(FILE, KeptName);
  const preferred = !isFixed && kept?.wanted === name ? kept.name : name;
  await untilGone(preferred, context, system);
  if (isFixed) return name;
  const chosen = [preferred, name, ...numbered(name)].find((each) => !system.has(each));
  if (chosen === undefined) {
    throw new MeshError("already-running", `Cannot create interface ${name}: it is in use`, {
      hint: "Choose another name with --interface",
    });
  }
  if (chosen !== name || kept !== null) await state.writeJson(FILE, { wanted: name, name: chosen });
  return chosen;
}

/**
 * Refuses addresses that another running context of this machine has too: the kernel can send a
 * packet for one address into one mesh only.
 * @throws {MeshError} `address-clash`
 */
export function refuseClash(
  context: string,
  ranges: readonly Prefix[],
  others: readonly MeshInterface[],
): void {
  for (const other of others) {
    const range = ranges.find((own) => other.prefixes.some((its) => prefixesOverlap(own, its)));
    if (range === undefined) continue;
    throw new MeshError(
      "address-clash",
      `Cannot run context "${context}" now: context "${other.context}" (${other.name}) has the ` +
        `addresses of its mesh, ${formatPrefix(range)}, in use`,
      {
        hint: `Stop the other one and start this one again: it is a member by now. ` +
          "For both at once, one mesh has to be made anew with `tunnelmesh up --cidr RANGE`",
      },
    );
  }
}

/** Waits for the end of an interface that a killed daemon of the same context had. */
async function untilGone(name: string, context: string, system: InterfaceView): Promise<void> {
  for (let waited = 0; waited < VANISH_MS; waited += LOOK_MS) {
    if (!system.has(name) || contextOf(system.alias(name)) !== context) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function numbered(name: string): string[] {
  const stem = name.replace(/\d+$/, "");
  return Array.from({ length: MAX_NUMBER }, (_, i) => {
    const number = `${i + 1}`;
    return stem.slice(0, MAX_NAME - number.length) + number;
  });
}
