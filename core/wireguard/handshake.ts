/**
 * The two handshake messages as WireGuard frames them around Noise IKpsk2 (paper, section 5.4), and
 * where features are agreed on in them (`negotiation.ts`).
 * @module
 */
import { utf8 } from "../bytes.ts";
import { HandshakeState } from "../noise/handshake_state.ts";
import type { KeyPair, X25519 } from "../noise/x25519.ts";
import type { Random } from "../random.ts";
import { CONSTRUCTION, IDENTIFIER } from "./constants.ts";
import { INITIATION, newMessage, readIndex, RESPONSE, writeIndex } from "./messages.ts";
import { labelOf, offerIn, selectionsOf, withOffer } from "./negotiation.ts";
import { TIMESTAMP_BYTES } from "./tai64n.ts";

const EMPTY = new Uint8Array(0);
const PROLOGUE = utf8(IDENTIFIER);

/** This node's part in every handshake. */
export interface HandshakeContext {
  readonly own: KeyPair;
  readonly random: Random;
  readonly x25519: X25519;
  /** What this node offers and accepts; 0 for plain WireGuard. */
  readonly features: number;
}

/** Transport keys as this side uses them. */
export interface TransportKeys {
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  /** What both ends agreed on to do with these keys. */
  readonly features: number;
}

/** What an initiation told. */
export interface Initiation {
  readonly state: HandshakeState;
  readonly remoteStatic: Uint8Array;
  readonly timestamp: Uint8Array;
  readonly sender: number;
  /** What it offered that this node has too. */
  readonly features: number;
}

/** Begins a handshake; the macs are still to be added. Null when the peer's key is degenerate. */
export function createInitiation(context: HandshakeContext, options: {
  readonly remoteStatic: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  readonly sender: number;
  readonly timestamp: Uint8Array;
}): { bytes: Uint8Array; state: HandshakeState } | null {
  const { remoteStatic, presharedKey, sender, timestamp } = options;
  const state = new HandshakeState({
    protocolName: CONSTRUCTION,
    isInitiator: true,
    prologue: PROLOGUE,
    random: context.random,
    x25519: context.x25519,
    static: context.own,
    remoteStatic,
    presharedKeys: presharedKey ? [presharedKey] : [],
  });
  const noise = state.writeMessage(withOffer(timestamp, context.features));
  if (!noise) return null;
  const bytes = newMessage(INITIATION);
  writeIndex(bytes, INITIATION.sender, sender);
  bytes.set(noise, INITIATION.noise);
  return { bytes, state };
}

/** Reads an initiation; null when it does not authenticate. */
export function consumeInitiation(
  context: HandshakeContext,
  bytes: Uint8Array,
): Initiation | null {
  const state = new HandshakeState({
    protocolName: CONSTRUCTION,
    isInitiator: false,
    prologue: PROLOGUE,
    random: context.random,
    x25519: context.x25519,
    static: context.own,
  });
  const timestamp = state.readMessage(bytes.subarray(INITIATION.noise, INITIATION.mac1));
  if (timestamp?.length !== TIMESTAMP_BYTES || !state.remoteStatic) return null;
  return {
    state,
    remoteStatic: state.remoteStatic,
    timestamp,
    sender: readIndex(bytes, INITIATION.sender),
    features: offerIn(timestamp) & context.features,
  };
}

/** Answers an initiation; the macs are still to be added. Null when its keys are degenerate. */
export function createResponse(
  initiation: Initiation,
  presharedKey: Uint8Array | undefined,
  sender: number,
): { bytes: Uint8Array; keys: TransportKeys } | null {
  const { state, features } = initiation;
  if (presharedKey) state.setPresharedKey(presharedKey);
  const noise = state.writeMessage(EMPTY, labelOf(features));
  if (!noise) return null;
  const bytes = newMessage(RESPONSE);
  writeIndex(bytes, RESPONSE.sender, sender);
  writeIndex(bytes, RESPONSE.receiver, initiation.sender);
  bytes.set(noise, RESPONSE.noise);
  const keys = { ...state.split(), features };
  state.wipe();
  return { bytes, keys };
}

/**
 * Reads the response to what `state` began. Null when it is forged, and `state` is as it was;
 * otherwise `state` is used up.
 */
export function consumeResponse(
  context: HandshakeContext,
  bytes: Uint8Array,
  state: HandshakeState,
): { keys: TransportKeys; sender: number } | null {
  const run = state.clone();
  const selections = selectionsOf(context.features);
  const noise = bytes.subarray(RESPONSE.noise, RESPONSE.mac1);
  const read = run.readLabelledMessage(noise, selections.map(labelOf));
  if (!read || read.payload.length !== 0) return null;
  const keys = { ...run.split(), features: selections[read.choice]! };
  run.wipe();
  return { keys, sender: readIndex(bytes, RESPONSE.sender) };
}
