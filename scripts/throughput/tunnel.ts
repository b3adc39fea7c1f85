/**
 * What the benchmark asks of a tunnel, whichever program makes it.
 * @module
 */
import type { Namespace } from "../../tests/e2e/lab/netns.ts";
import type { Pair } from "./pair.ts";

/** Of every tunnel interface: WireGuard's usual one on a path of 1500 bytes. */
export const TUNNEL_MTU = 1420;

/** One end of a tunnel that is up. */
export interface End {
  readonly machine: Namespace;
  /** IPv4 inside the tunnel. */
  readonly ip: string;
  /** Of the program that carries the packets. */
  readonly pid: number;
}

/** A tunnel that is up; dispose of it to take it down. */
export interface Tunnel extends AsyncDisposable {
  readonly a: End;
  readonly b: End;
}

/** A kind of tunnel that this machine can make. */
export interface Contender {
  readonly name: string;
  /** What was found, e.g. `wireguard-go v0.0.20250522 (/usr/bin/wireguard-go)`. */
  readonly about: string;
  start(pair: Pair): Promise<Tunnel>;
}

/** Ends all of `parts`, the last one first. */
export async function disposeAll(parts: readonly AsyncDisposable[]): Promise<void> {
  for (const part of parts.toReversed()) await part[Symbol.asyncDispose]();
}
