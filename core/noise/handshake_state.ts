/**
 * One run of a Noise handshake (Noise specification, section 5.3): reads and writes its messages.
 *
 * Any failure ends the run: a state that returned null or threw must be dropped.
 * @module
 */
import { x25519 } from "@noble/curves/ed25519.js";
import { concatBytes } from "../bytes.ts";
import type { Random } from "../random.ts";
import { type Pattern, patternOf, type Token } from "./patterns.ts";
import { SymmetricState } from "./symmetric_state.ts";

const KEY = 32, TAG = 16;

/** A Curve25519 key pair (RFC 7748). */
export interface KeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Makes the pair of a private key. */
export function keyPairOf(privateKey: Uint8Array): KeyPair {
  return { privateKey, publicKey: x25519.getPublicKey(privateKey) };
}

/** Everything a run starts from. */
export interface HandshakeOptions {
  readonly protocolName: string;
  readonly isInitiator: boolean;
  readonly prologue: Uint8Array;
  /** For ephemeral keys. */
  readonly random: Random;
  readonly static?: KeyPair;
  /** Of the other side, when the pattern wants it beforehand. */
  readonly remoteStatic?: Uint8Array;
  /** One for each `psk` token, in order. */
  readonly presharedKeys?: readonly Uint8Array[];
}

/** One run. */
export class HandshakeState {
  readonly #options: HandshakeOptions;
  readonly #pattern: Pattern;
  #symmetric: SymmetricState;
  #ephemeral: KeyPair | undefined;
  #remoteEphemeral: Uint8Array | undefined;
  #remoteStatic: Uint8Array | undefined;
  #psks: Uint8Array[];
  #next = 0;

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#pattern = patternOf(options.protocolName);
    this.#symmetric = new SymmetricState(options.protocolName);
    this.#remoteStatic = options.remoteStatic;
    this.#psks = [...options.presharedKeys ?? []];
    this.#symmetric.mixHash(options.prologue);
    const own = options.static?.publicKey;
    const [initiator, responder] = options.isInitiator
      ? [own, options.remoteStatic]
      : [options.remoteStatic, own];
    if (this.#pattern.preInitiator.length > 0) this.#symmetric.mixHash(initiator!);
    if (this.#pattern.preResponder.length > 0) this.#symmetric.mixHash(responder!);
  }

  /** An independent copy, so that a message that may be forged cannot spoil this run. */
  clone(): HandshakeState {
    const copy = new HandshakeState(this.#options);
    copy.#symmetric = this.#symmetric.clone();
    copy.#ephemeral = this.#ephemeral;
    copy.#remoteEphemeral = this.#remoteEphemeral;
    copy.#remoteStatic = this.#remoteStatic;
    copy.#psks = [...this.#psks];
    copy.#next = this.#next;
    return copy;
  }

  /** The other side's static key, once it is known. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#remoteStatic;
  }

  get handshakeHash(): Uint8Array {
    return this.#symmetric.handshakeHash;
  }

  /** Whether all messages were exchanged, so that {@link split} may be called. */
  get isFinished(): boolean {
    return this.#next === this.#pattern.messages.length;
  }

  /** Sets the key for the next `psk` token; a responder may learn it only from the first message. */
  setPresharedKey(key: Uint8Array): void {
    this.#psks = [key];
  }

  /** Writes the next message. Returns null when a key of the other side is degenerate. */
  writeMessage(payload: Uint8Array): Uint8Array | null {
    const parts: Uint8Array[] = [];
    for (const token of this.#pattern.messages[this.#next++]!) {
      if (token === "e") {
        this.#ephemeral = keyPairOf(this.#options.random.bytes(KEY));
        parts.push(this.#ephemeral.publicKey);
        this.#mixEphemeral(this.#ephemeral.publicKey);
      } else if (token === "s") {
        parts.push(this.#symmetric.encryptAndHash(this.#options.static!.publicKey));
      } else if (!this.#mix(token)) return null;
    }
    parts.push(this.#symmetric.encryptAndHash(payload));
    return concatBytes(...parts);
  }

  /** Reads the next message; returns its payload, or null when it does not authenticate. */
  readMessage(message: Uint8Array): Uint8Array | null {
    let at = 0;
    for (const token of this.#pattern.messages[this.#next++]!) {
      if (token === "e") {
        if (message.length < at + KEY) return null;
        this.#remoteEphemeral = message.slice(at, at += KEY);
        this.#mixEphemeral(this.#remoteEphemeral);
      } else if (token === "s") {
        const size = KEY + (this.#symmetric.hasKey ? TAG : 0);
        if (message.length < at + size) return null;
        const key = this.#symmetric.decryptAndHash(message.slice(at, at += size));
        if (!key) return null;
        this.#remoteStatic = key;
      } else if (!this.#mix(token)) return null;
    }
    return this.#symmetric.decryptAndHash(message.slice(at));
  }

  /** The transport keys as this side uses them. */
  split(): { sendKey: Uint8Array; receiveKey: Uint8Array } {
    const [first, second] = this.#symmetric.split();
    return this.#options.isInitiator
      ? { sendKey: first, receiveKey: second }
      : { sendKey: second, receiveKey: first };
  }

  /** With pre-shared keys the ephemeral is also key material (section 9.2). */
  #mixEphemeral(key: Uint8Array): void {
    this.#symmetric.mixHash(key);
    if (this.#pattern.messages.some((tokens) => tokens.includes("psk"))) {
      this.#symmetric.mixKey(key);
    }
  }

  #mix(token: Exclude<Token, "e" | "s">): boolean {
    if (token === "psk") {
      this.#symmetric.mixKeyAndHash(this.#psks.shift() ?? new Uint8Array(KEY));
      return true;
    }
    // The first letter is the initiator's key, the second the responder's.
    const [own, other] = this.#options.isInitiator ? [token[0], token[1]] : [token[1], token[0]];
    const ours = own === "e" ? this.#ephemeral : this.#options.static;
    const theirs = other === "e" ? this.#remoteEphemeral : this.#remoteStatic;
    const secret = agree(ours!.privateKey, theirs!);
    if (!secret) return false;
    this.#symmetric.mixKey(secret);
    return true;
  }
}

/** X25519; null for the all-zero result of a low-order key (RFC 7748 section 6.1). */
export function agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | null {
  try {
    return x25519.getSharedSecret(privateKey, publicKey);
  } catch {
    return null;
  }
}
