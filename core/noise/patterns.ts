/**
 * Handshake patterns as data (Noise specification, sections 7 and 9).
 * @module
 */

/** One step of a handshake message. */
export type Token = "e" | "s" | "ee" | "es" | "se" | "ss" | "psk";

/** A pattern: who knows whose static key beforehand, and what each message carries. */
export interface Pattern {
  readonly preInitiator: readonly "s"[];
  readonly preResponder: readonly "s"[];
  /** In turns, the initiator's first. */
  readonly messages: readonly (readonly Token[])[];
  /** Whether any message mixes a pre-shared key; ephemeral keys are then key material too. */
  readonly hasPsk: boolean;
}

const BASE: ReadonlyMap<string, Omit<Pattern, "hasPsk">> = new Map([
  ["NN", { preInitiator: [], preResponder: [], messages: [["e"], ["e", "ee"]] }],
  ["IK", {
    preInitiator: [],
    preResponder: ["s"],
    messages: [["e", "es", "s", "ss"], ["e", "ee", "se"]],
  }],
  ["XX", {
    preInitiator: [],
    preResponder: [],
    messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]],
  }],
]);

/** Patterns by protocol name; names come from our own code, so the map stays small. */
const known = new Map<string, Pattern>();

/**
 * The pattern of a protocol name such as `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`.
 *
 * @throws {RangeError} for a pattern, modifier or primitive that is not known here.
 */
export function patternOf(protocolName: string): Pattern {
  const cached = known.get(protocolName);
  if (cached) return cached;
  const pattern = parse(protocolName);
  known.set(protocolName, pattern);
  return pattern;
}

function parse(protocolName: string): Pattern {
  const match = /^Noise_([A-Z]+)((?:psk\d(?:\+(?=psk))?)*)_25519_ChaChaPoly_BLAKE2s$/
    .exec(protocolName);
  const base = match && BASE.get(match[1]!);
  if (!base) throw new RangeError(`Cannot find Noise protocol "${protocolName}"`);
  const messages = base.messages.map((tokens) => [...tokens]);
  const modifiers = match[2]!.split("+").filter((text) => text !== "");
  for (const modifier of modifiers) {
    const position = Number(modifier.slice(3));
    if (position === 0) messages[0]!.unshift("psk");
    else if (messages[position - 1]) messages[position - 1]!.push("psk");
    else throw new RangeError(`Cannot apply ${modifier}: "${protocolName}" has fewer messages`);
  }
  return { ...base, messages, hasPsk: modifiers.length > 0 };
}
