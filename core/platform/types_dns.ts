/**
 * How does the system send mesh names to this node's resolver, and everything back as it was?
 *
 * One interface, one implementation per operating system. Order of use: create (which repairs what
 * a killed daemon left), start the resolver, {@link SystemDns.apply}, and {@link SystemDns.restore}
 * at the end.
 * @module
 */
import type { Ip } from "../ip.ts";

/**
 * `resolved`: per-link settings of systemd-resolved. `shared`: resolv.conf names the resolver of
 * another context, which asks this one. `off`: mesh names do not reach the resolver.
 */
export type SystemDnsMode = "resolved" | "resolv.conf" | "shared" | "off";

/** What every implementation needs to know. */
export interface SystemDnsOptions {
  /** The mesh interface. */
  readonly interfaceName: string;
  /** Addresses on which the resolver answers, preferred first. */
  readonly addresses: readonly Ip[];
  /** Its port; default 53. Only systemd-resolved can use another. */
  readonly port?: number;
  /** Reverse zones of the mesh, e.g. `30.172.in-addr.arpa`. */
  readonly reverseZones?: readonly string[];
  /** Whether the resolver of another context of this machine is there; it asks this one. */
  readonly isContextResolver?: (ip: Ip) => boolean;
  /** A folder that survives a crash; holds the backup. */
  readonly stateDir: string;
  /** Takes one sentence about something a user would notice. */
  readonly log: (message: string) => void;
}

/** A change that another program made to the settings and that was undone. */
export interface DnsRepair {
  readonly ageMs: number;
  /** One sentence. */
  readonly what: string;
}

/** Facts for `status`. */
export interface SystemDnsReport {
  readonly mode: SystemDnsMode;
  readonly upstreams: readonly Ip[];
  /** Newest last, at most 20. */
  readonly repairs: readonly DnsRepair[];
  /** Why mesh names do not reach the resolver, one sentence, or null. */
  readonly problem: string | null;
}

/** The system's resolver settings. */
export interface SystemDns {
  /**
   * Can change while running: `off` becomes `resolv.conf` when another daemon lets go of the file.
   */
  readonly mode: SystemDnsMode;
  /**
   * Resolvers that the system would use without us, best first; follows changes by other programs.
   */
  upstreams(): readonly Ip[];
  /**
   * Sends mesh names to the resolver and keeps it so until {@link restore}. Calling it again
   * asserts the settings anew, as is due after a change of links or a resume.
   * @throws {MeshError} `system` when the settings cannot be changed.
   */
  apply(): Promise<void>;
  /**
   * Sends all names to the resolver or only the mesh's, which is how it begins; for a machine that
   * uses an exit. Takes effect at once after {@link SystemDns.apply}, else with it.
   * @throws {MeshError} `system` when the settings cannot be changed.
   */
  takeAll(takesAll: boolean): Promise<void>;
  /** Puts everything back as it was. Never throws; what fails is logged. */
  restore(): Promise<void>;
  /** Calls back after each repair. */
  onRepair(callback: (repair: DnsRepair) => void): void;
  report(): SystemDnsReport;
}
