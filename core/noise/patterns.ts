/**
 * Handshake patterns as data (Noise specification, sections 7 and 9).
 * @module
 */

/** One step of a handshake message. */
export type Token = "e" | "s" | "ee" | "es" | "se" | "ss" | "psk";

/** A pattern: who knows whose static key beforehand, and what each message carries. */
export interface Pattern {
  readonly preResponder: readonly "s"[];
  readonly preInitiator: readonly "s"[];
  readonly messages: readonly (readonly Token[])[];
}

const BASE: Record<string, Pattern> = {
  NN: { preInitiator: [], preResponder: [], messages: [["e"], ["e", "ee"]] },
  IK: {
    preInitiator: [],
    preResponder: ["s"],
    messages: [["e", "es", "s", "ss"], ["e", "ee", "se"]],
  },
  XX: {
    preInitiator: [],
    preResponder: [],
    messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]],
  },
};

/**
 * The pattern of a protocol name such as `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`.
 *
 * @throws {RangeError} for a pattern or primitives that are not known here.
 */
export function patternOf(protocolName: string): Pattern {
  const match = /^Noise_([A-Z]+)((?:psk\d\+?)*)_25519_ChaChaPoly_BLAKE2s$/.exec(protocolName);
  const base = match && BASE[match[1]!];
  if (!base) throw new RangeError(`Cannot find Noise protocol "${protocolName}"`);
  const messages = base.messages.map((tokens) => [...tokens]);
  for (const modifier of match[2]!.split("+").filter((text) => text !== "")) {
    const position = Number(modifier.slice(3));
    if (position === 0) messages[0]!.unshift("psk");
    else if (messages[position - 1]) messages[position - 1]!.push("psk");
    else throw new RangeError(`Cannot apply ${modifier} to "${protocolName}"`);
  }
  return { ...base, messages };
}
