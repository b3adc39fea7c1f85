/**
 * What users may set about how packets are carried.
 * @module
 */

/** Implementations of the ciphers; `auto` takes the fastest one that this machine has. */
export const AEAD_CHOICES = ["auto", "libcrypto", "wasm"] as const;
export type AeadChoice = typeof AEAD_CHOICES[number];

/**
 * What makes packets cheaper and can be switched off, to find out whether it is to blame:
 * super-packets of TCP (`tso`) and UDP (`uso`) at the interface, segmentation (`gso`) and joining
 * (`gro`) of datagrams at the socket, packets without checksums (`pieces`) and AES-256-GCM (`aes`)
 * between own nodes.
 */
export const ACCELERATIONS = ["tso", "uso", "gso", "gro", "pieces", "aes"] as const;
export type Acceleration = typeof ACCELERATIONS[number];

/** How packets are carried. */
export interface DataPlaneSettings {
  readonly aead: AeadChoice;
  /** Pairs of packet workers; null to have as many as suit the machine. */
  readonly workers: number | null;
  readonly disabled: readonly Acceleration[];
}
