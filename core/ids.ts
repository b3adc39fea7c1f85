/**
 * Names and numbers that identify things, with the rules for what is a valid one.
 * @module
 */
import { z } from "zod";

/** Hex of the first 8 bytes of SHA-256 over the 32-byte ed25519 public key: 16 characters. */
export const PeerId = z.string().regex(/^[0-9a-f]{16}$/, "must be 16 lower-case hex digits");
export type PeerId = z.infer<typeof PeerId>;

/** Names that the mesh itself uses; no node may take one. */
export const RESERVED_NAMES: readonly string[] = [
  "admin",
  "administrator",
  "api",
  "assets",
  "coordinator",
  "grafana",
  "health",
  "localhost",
  "peers",
  "prometheus",
  "static",
  "super",
  "supervisor",
  "this",
];

/** A node's name: one DNS label, lower case (RFC 1123 section 2.1). */
export const PeerName = z.string().regex(
  /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
  "must be 1 to 63 letters, digits and hyphens, and neither start nor end with a hyphen",
);
export type PeerName = z.infer<typeof PeerName>;

/** An alias: one or more labels joined by dots. */
export const Alias = z.string().max(200).regex(
  /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/,
  "must be lower-case DNS labels joined by dots",
);

/** The suffixes that all mesh names have; the first is the canonical one. */
export const SUFFIXES: readonly string[] = ["tunnelmesh", "mesh", "tm"];

/** Makes a valid {@link PeerName} of a host name, e.g. `Anna's Laptop.local` to `anna-s-laptop`. */
export function peerNameFrom(hostname: string): string {
  const label = hostname.split(".")[0]!.toLowerCase().replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "").slice(0, 63).replace(/-+$/, "");
  return label === "" || RESERVED_NAMES.includes(label) ? `node${label ? "-" + label : ""}` : label;
}
