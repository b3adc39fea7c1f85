/**
 * How do two own nodes agree on features inside the handshake, unnoticed by any other WireGuard?
 *
 * | step | what happens |
 * | --- | --- |
 * | offer | the initiator writes its features into the low bits of its timestamp, which is encrypted |
 * | selection | the responder takes those that it has too, and binds them with a label |
 * | discovery | the initiator tries the labels of all selections that its offer allows |
 *
 * No message changes its size, and an empty selection has no label: that is plain WireGuard. What
 * the bits mean is the data plane's business (`core/dataplane/features.ts`). Why nobody between the
 * nodes can change the outcome is told in `docs/protocol.md`.
 * @module
 */
import { assert } from "../assert.ts";
import { concatBytes, utf8 } from "../bytes.ts";
import { OFFER_BITS, TIMESTAMP_BYTES } from "./tai64n.ts";

/** How many features there can be; each doubles the selections that an initiator may have to try. */
const FEATURE_BITS = 4;
const FEATURE_MASK = 2 ** FEATURE_BITS - 1;

/**
 * Above the features in the low bits of a timestamp, so that an offer is not mistaken for
 * nanoseconds. Nodes that did not negotiate yet kept multiples of 8 ms, whose low 9 bits are zero:
 * they never look like an offer.
 */
const MAGIC = 0x746d3;

/** Where the 32-bit nanoseconds of a timestamp are. */
const NANOS_AT = TIMESTAMP_BYTES - 4;

const LABEL = utf8("tunnelmesh features 1");
const NO_LABEL = new Uint8Array(0);

/** A copy of a timestamp that offers `features`; with none it is the timestamp itself. */
export function withOffer(timestamp: Uint8Array, features: number): Uint8Array {
  assert((features & FEATURE_MASK) === features, `features are a set of ${FEATURE_BITS} bits`);
  if (features === 0) return timestamp;
  const offering = timestamp.slice();
  const view = new DataView(offering.buffer);
  const coarse = view.getUint32(NANOS_AT) >>> OFFER_BITS << OFFER_BITS;
  view.setUint32(NANOS_AT, coarse | MAGIC << FEATURE_BITS | features);
  return offering;
}

/** The features that a timestamp offers, which is none for every other WireGuard's. */
export function offerIn(timestamp: Uint8Array): number {
  const { buffer, byteOffset } = timestamp;
  const nanos = new DataView(buffer, byteOffset).getUint32(NANOS_AT);
  const low = nanos & (2 ** OFFER_BITS - 1);
  return low >>> FEATURE_BITS === MAGIC ? low & FEATURE_MASK : 0;
}

/** What a responder that selects `features` binds into its answer; nothing for none. */
export function labelOf(features: number): Uint8Array {
  return features === 0 ? NO_LABEL : concatBytes(LABEL, Uint8Array.of(features));
}

/** Everything that an offer may be answered with, in the order to try: none, then most to least. */
export function selectionsOf(offer: number): number[] {
  const selections = [0];
  for (let features = offer; features > 0; features = (features - 1) & offer) {
    selections.push(features);
  }
  return selections;
}
