/**
 * How do domain names look on the wire, and as text that is safe to compare?
 *
 * Text form: labels joined by dots, ASCII letters lower-cased (RFC 4343), every other byte than
 * `a-z 0-9 - _` as `\ddd`, no final dot; the root is the empty text. So equal names are equal text,
 * and a dot inside a label cannot pass for a separator.
 * @module
 */

/** Longest name on the wire, root label included (RFC 1035 section 2.3.4). */
export const MAX_NAME_BYTES = 255;
/** Longest label (RFC 1035 section 2.3.4). */
export const MAX_LABEL_BYTES = 63;

/** A name read from a message. */
export interface WireName {
  /** Lower-case text of each label, first label first. */
  readonly labels: readonly string[];
  /** Where in the message each label's length byte is; the last entry is the root label. */
  readonly offsets: readonly number[];
  /** Offset of the byte after the name. */
  readonly end: number;
}

/**
 * Reads a name without compression at byte `at`. Null for anything else: a pointer, an unknown
 * label type, a name too long or cut short.
 */
export function readName(message: Uint8Array, at: number): WireName | null {
  const labels: string[] = [];
  const offsets: number[] = [];
  for (let i = at; i < message.length && i - at < MAX_NAME_BYTES;) {
    const length = message[i]!;
    offsets.push(i);
    if (length === 0) return { labels, offsets, end: i + 1 };
    if (length > MAX_LABEL_BYTES || i + 1 + length > message.length) return null;
    labels.push(labelText(message, i + 1, length));
    i += 1 + length;
  }
  return null;
}

/**
 * Reads a name that may be compressed; returns its text and the offset after it, or null. Every
 * pointer must point before the one that led to it, so reading ends (RFC 1035 section 4.1.4).
 */
export function readCompressedName(
  message: Uint8Array,
  at: number,
): { name: string; end: number } | null {
  const labels: string[] = [];
  let end = -1;
  let bytes = 0;
  let lowest = at;
  for (let i = at; i < message.length;) {
    const length = message[i]!;
    if (length === 0) return { name: labels.join("."), end: end < 0 ? i + 1 : end };
    if (length >= 0xc0) {
      if (i + 1 >= message.length) return null;
      const target = ((length & 0x3f) << 8) | message[i + 1]!;
      if (target >= lowest) return null;
      if (end < 0) end = i + 2;
      lowest = i = target;
      continue;
    }
    bytes += 1 + length;
    if (length > MAX_LABEL_BYTES || i + 1 + length > message.length) return null;
    if (bytes >= MAX_NAME_BYTES) return null;
    labels.push(labelText(message, i + 1, length));
    i += 1 + length;
  }
  return null;
}

/** Offset after a name that may be compressed, following no pointer; null when it is malformed. */
export function skipName(message: Uint8Array, at: number): number | null {
  for (let i = at; i < message.length && i - at < MAX_NAME_BYTES;) {
    const length = message[i]!;
    if (length === 0) return i + 1;
    if (length >= 0xc0) return i + 2 <= message.length ? i + 2 : null;
    if (length > MAX_LABEL_BYTES) return null;
    i += 1 + length;
  }
  return null;
}

/**
 * Wire form of text in host-name letters, without compression; null when a label is empty or too
 * long, when the name is too long, or when it holds a character beyond ASCII. A final dot is
 * allowed.
 */
export function encodeName(name: string): Uint8Array | null {
  const text = name.endsWith(".") ? name.slice(0, -1) : name;
  const labels = text === "" ? [] : text.split(".");
  const out = new Uint8Array(text === "" ? 1 : text.length + 2);
  if (out.length > MAX_NAME_BYTES) return null;
  let at = 0;
  for (const label of labels) {
    if (label.length === 0 || label.length > MAX_LABEL_BYTES) return null;
    out[at++] = label.length;
    for (let i = 0; i < label.length; i++) {
      const code = label.charCodeAt(i);
      if (code <= 0x20 || code >= 0x7f || code === 0x5c) return null;
      out[at++] = code;
    }
  }
  return out;
}

function labelText(message: Uint8Array, at: number, length: number): string {
  let text = "";
  for (let i = at; i < at + length; i++) {
    const byte = lowerCase(message[i]!);
    const isPlain = (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) ||
      byte === 0x2d || byte === 0x5f;
    text += isPlain ? String.fromCharCode(byte) : "\\" + byte.toString().padStart(3, "0");
  }
  return text;
}

/** A byte with ASCII capital letters made small. */
export function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}
