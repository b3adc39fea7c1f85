/**
 * The two handshake messages as WireGuard frames them around Noise IKpsk2 (paper, section 5.4).
 * @module
 */
import { utf8 } from "../bytes.ts";
import { HandshakeState, type KeyPair } from "../noise/handshake_state.ts";
import type { Random } from "../random.ts";
import { CONSTRUCTION, IDENTIFIER } from "./constants.ts";
import { INITIATION, newMessage, readIndex, RESPONSE, writeIndex } from "./messages.ts";

const EMPTY = new Uint8Array(0);
const PROLOGUE = utf8(IDENTIFIER);

/** Transport keys as this side uses them. */
export interface TransportKeys {
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
}

/** What an initiation told. */
export interface Initiation {
  readonly state: HandshakeState;
  readonly remoteStatic: Uint8Array;
  readonly timestamp: Uint8Array;
  readonly sender: number;
}

/** Begins a handshake; the macs are still to be added. Null when the peer's key is degenerate. */
export function createInitiation(options: {
  readonly own: KeyPair;
  readonly remoteStatic: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  readonly sender: number;
  readonly timestamp: Uint8Array;
  readonly random: Random;
}): { bytes: Uint8Array; state: HandshakeState } | null {
  const { own, remoteStatic, presharedKey, sender, timestamp, random } = options;
  const state = new HandshakeState({
    protocolName: CONSTRUCTION,
    isInitiator: true,
    prologue: PROLOGUE,
    random,
    static: own,
    remoteStatic,
    presharedKeys: presharedKey ? [presharedKey] : [],
  });
  const noise = state.writeMessage(timestamp);
  if (!noise) return null;
  const bytes = newMessage(INITIATION);
  writeIndex(bytes, INITIATION.sender, sender);
  bytes.set(noise, INITIATION.noise);
  return { bytes, state };
}

/** Reads an initiation; null when it does not authenticate. */
export function consumeInitiation(
  bytes: Uint8Array,
  own: KeyPair,
  random: Random,
): Initiation | null {
  const state = new HandshakeState({
    protocolName: CONSTRUCTION,
    isInitiator: false,
    prologue: PROLOGUE,
    random,
    static: own,
  });
  const timestamp = state.readMessage(bytes.subarray(INITIATION.noise, INITIATION.mac1));
  if (!timestamp || !state.remoteStatic) return null;
  return {
    state,
    remoteStatic: state.remoteStatic,
    timestamp,
    sender: readIndex(bytes, INITIATION.sender),
  };
}

/** Answers an initiation; the macs are still to be added. */
export function createResponse(
  initiation: Initiation,
  presharedKey: Uint8Array | undefined,
  sender: number,
): { bytes: Uint8Array; keys: TransportKeys } | null {
  if (presharedKey) initiation.state.setPresharedKey(presharedKey);
  const noise = initiation.state.writeMessage(EMPTY);
  if (!noise) return null;
  const bytes = newMessage(RESPONSE);
  writeIndex(bytes, RESPONSE.sender, sender);
  writeIndex(bytes, RESPONSE.receiver, initiation.sender);
  bytes.set(noise, RESPONSE.noise);
  return { bytes, keys: initiation.state.split() };
}

/** Reads the response to what `state` began; null, `state` as it was, when it is forged. */
export function consumeResponse(
  bytes: Uint8Array,
  state: HandshakeState,
): { keys: TransportKeys; sender: number } | null {
  const run = state.clone();
  const payload = run.readMessage(bytes.subarray(RESPONSE.noise, RESPONSE.mac1));
  if (!payload || payload.length !== 0) return null;
  return { keys: run.split(), sender: readIndex(bytes, RESPONSE.sender) };
}
