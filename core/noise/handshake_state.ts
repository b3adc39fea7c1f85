/**
 * One run of a Noise handshake (Noise specification, section 5.3): reads and writes its messages.
 *
 * Keys and patterns come from our own code, so a missing one is a bug and asserts. Messages come
 * from the network, so a bad one is null. Any failure ends the run: a state that returned null must
 * be dropped, and whoever must survive a forged message reads it with a {@link HandshakeState.clone}.
 *
 * Beyond the specification, the writer of the last message may bind a label: public data that no
 * message carries. The tag of the payload and the transport keys depend on it, so a reader finds
 * out which one it was, and nobody else can make it another. Without a label all is standard.
 * @module
 */
import { assert } from "../assert.ts";
import { concatBytes } from "../bytes.ts";
import type { Random } from "../random.ts";
import { type Pattern, patternOf, type Token } from "./patterns.ts";
import { SymmetricState } from "./symmetric_state.ts";
import { agree, type KeyPair, keyPairOf, nobleX25519, type X25519 } from "./x25519.ts";

const KEY = 32;
const TAG = 16;
/** Longest message (section 3). */
const MAX_MESSAGE = 65535;
/** Binds nothing. */
const NO_LABEL = new Uint8Array(0);

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
  /** One for each `psk` token, in order; a token without one mixes 32 zero bytes. */
  readonly presharedKeys?: readonly Uint8Array[];
  /** Absent for the reference implementation. */
  readonly x25519?: X25519;
}

/** One run. */
export class HandshakeState {
  readonly #options: HandshakeOptions;
  readonly #pattern: Pattern;
  readonly #x25519: X25519;
  #symmetric: SymmetricState;
  #ephemeral: KeyPair | undefined;
  #remoteEphemeral: Uint8Array | undefined;
  #remoteStatic: Uint8Array | undefined;
  #presharedKeys: Uint8Array[];
  #label: Uint8Array = NO_LABEL;
  /** Index of the message that is next. */
  #next = 0;

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#pattern = patternOf(options.protocolName);
    this.#x25519 = options.x25519 ?? nobleX25519;
    this.#symmetric = new SymmetricState(options.protocolName);
    this.#remoteStatic = options.remoteStatic;
    this.#presharedKeys = [...options.presharedKeys ?? []];
    this.#symmetric.mixHash(options.prologue);
    const own = options.static?.publicKey;
    const [initiator, responder] = options.isInitiator
      ? [own, options.remoteStatic]
      : [options.remoteStatic, own];
    if (this.#pattern.preInitiator.length > 0) this.#symmetric.mixHash(known(initiator));
    if (this.#pattern.preResponder.length > 0) this.#symmetric.mixHash(known(responder));
  }

  /** An independent copy, so that a message that may be forged cannot spoil this run. */
  clone(): HandshakeState {
    const copy = new HandshakeState(this.#options);
    copy.#symmetric = this.#symmetric.clone();
    copy.#ephemeral = this.#ephemeral;
    copy.#remoteEphemeral = this.#remoteEphemeral;
    copy.#remoteStatic = this.#remoteStatic;
    copy.#presharedKeys = [...this.#presharedKeys];
    copy.#label = this.#label;
    copy.#next = this.#next;
    return copy;
  }

  /** The other side's static key, once it is known. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#remoteStatic;
  }

  /** Binds the whole transcript; equal on both sides once the handshake is done. */
  get handshakeHash(): Uint8Array {
    return this.#symmetric.handshakeHash;
  }

  /** Whether all messages were exchanged, so that {@link split} may be called. */
  get isFinished(): boolean {
    return this.#next === this.#pattern.messages.length;
  }

  /** Sets the key for the next `psk` token; a responder may learn it only from the first message. */
  setPresharedKey(key: Uint8Array): void {
    this.#presharedKeys = [key];
  }

  /**
   * Writes the next message, around a payload that is encrypted as soon as the pattern allows.
   * Returns null when a key of the other side is degenerate.
   *
   * @param label Bound to the last message; the reader must try it.
   */
  writeMessage(payload: Uint8Array, label: Uint8Array = NO_LABEL): Uint8Array | null {
    const parts: Uint8Array[] = [];
    for (const token of this.#takeTurn(true)) {
      if (token === "e") {
        this.#ephemeral = keyPairOf(this.#options.random.bytes(KEY), this.#x25519);
        parts.push(this.#ephemeral.publicKey);
        this.#mixEphemeral(this.#ephemeral.publicKey);
      } else if (token === "s") {
        parts.push(this.#symmetric.encryptAndHash(known(this.#options.static).publicKey));
      } else if (!this.#mix(token)) return null;
    }
    this.#bind(label);
    parts.push(this.#symmetric.encryptAndHash(payload));
    const message = concatBytes(...parts);
    assert(message.length <= MAX_MESSAGE, "a handshake message fits 65535 bytes");
    return message;
  }

  /** Reads the next message; returns its payload, or null when it does not authenticate. */
  readMessage(message: Uint8Array): Uint8Array | null {
    return this.readLabelledMessage(message, [NO_LABEL])?.payload ?? null;
  }

  /**
   * Reads the last message, which binds one of `labels`; says which by its place among them. Each
   * costs a hash and a tag; secrets are agreed upon once.
   */
  readLabelledMessage(
    message: Uint8Array,
    labels: readonly Uint8Array[],
  ): { payload: Uint8Array; choice: number } | null {
    if (message.length > MAX_MESSAGE) return null;
    let at = 0;
    for (const token of this.#takeTurn(false)) {
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
    return this.#openPayload(message.slice(at), labels);
  }

  /** The transport keys as this side uses them. */
  split(): { sendKey: Uint8Array; receiveKey: Uint8Array } {
    assert(this.isFinished, "a handshake is split once all messages were exchanged");
    const [first, second] = this.#symmetric.split(this.#label);
    return this.#options.isInitiator
      ? { sendKey: first, receiveKey: second }
      : { sendKey: second, receiveKey: first };
  }

  /** Overwrites the ephemeral private key; neither this run nor its clones may go on. */
  wipe(): void {
    this.#ephemeral?.privateKey.fill(0);
    this.#symmetric = new SymmetricState(this.#options.protocolName);
  }

  /** Makes the payload's tag and the transport keys depend on a label. */
  #bind(label: Uint8Array): void {
    this.#label = label;
    if (label.length === 0) return;
    assert(this.isFinished, "the last message binds a label");
    this.#symmetric.mixHash(label);
  }

  /** Opens a payload with the first label that its tag fits. */
  #openPayload(
    sealed: Uint8Array,
    labels: readonly Uint8Array[],
  ): { payload: Uint8Array; choice: number } | null {
    const unbound = this.#symmetric;
    for (const [choice, label] of labels.entries()) {
      this.#symmetric = unbound.clone();
      this.#bind(label);
      const payload = this.#symmetric.decryptAndHash(sealed);
      if (payload) return { payload, choice };
    }
    return null;
  }

  /** Tokens of the next message, which must be this side's to write or to read. */
  #takeTurn(isWriting: boolean): readonly Token[] {
    const tokens = this.#pattern.messages[this.#next];
    const isInitiatorsTurn = this.#next % 2 === 0;
    assert(tokens !== undefined, "a handshake has messages left");
    assert(isInitiatorsTurn === (this.#options.isInitiator === isWriting), "sides take turns");
    this.#next++;
    return tokens;
  }

  /** With pre-shared keys the ephemeral is also key material (section 9.2). */
  #mixEphemeral(key: Uint8Array): void {
    this.#symmetric.mixHash(key);
    if (this.#pattern.hasPsk) this.#symmetric.mixKey(key);
  }

  #mix(token: Exclude<Token, "e" | "s">): boolean {
    if (token === "psk") {
      this.#symmetric.mixKeyAndHash(this.#presharedKeys.shift() ?? new Uint8Array(KEY));
      return true;
    }
    // The first letter is the initiator's key, the second the responder's.
    const [own, other] = this.#options.isInitiator ? [token[0], token[1]] : [token[1], token[0]];
    const ours = own === "e" ? this.#ephemeral : this.#options.static;
    const theirs = other === "e" ? this.#remoteEphemeral : this.#remoteStatic;
    const secret = agree(known(ours).privateKey, known(theirs), this.#x25519);
    if (!secret) return false;
    this.#symmetric.mixKey(secret);
    return true;
  }
}

/** A key that the pattern has by this point. */
function known<T>(key: T | undefined): T {
  assert(key !== undefined, "a handshake has the keys that its pattern uses");
  return key;
}
