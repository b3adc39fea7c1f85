/**
 * Which links does a node have beside UDP? A relay through each coordinator.
 * @module
 */
import type { LinkWiring, ReportingLink } from "../core/daemon/carriers.ts";
import { tlsOptions } from "../core/daemon/tls_pin.ts";
import type { Identity } from "../core/identity/keys.ts";
import { RelayLink } from "../transports/relay/client.ts";

/** What links are chosen by. */
export interface LinkOptions {
  readonly identity: Identity;
  /** `https://host:port` of the coordinators. */
  readonly urls: readonly string[];
  /** PEM that coordinators are checked against; null for the system's roots. */
  readonly caCertificate: string | null;
}

/** Coordinators that are used as relays at once: the second is for when the first dies. */
const MAX_RELAYS = 3;

/** Makes the links; each connects by itself from here on. */
export function openLinks(options: LinkOptions, wiring: LinkWiring): ReportingLink[] {
  const { identity, urls, caCertificate } = options;
  const { clock, random } = wiring;
  const tls = tlsOptions(caCertificate);
  return urls.slice(0, MAX_RELAYS).map((text) => {
    const url = text.replace(/^https:/, "wss:");
    // Its name is known only once it is made; no event comes before that.
    const events = {
      received: (...args: Parameters<ReturnType<LinkWiring["events"]>["received"]>) =>
        wiring.events(link.name).received(...args),
      changed: (...args: Parameters<ReturnType<LinkWiring["events"]>["changed"]>) =>
        wiring.events(link.name).changed(...args),
    };
    const link: RelayLink = new RelayLink({ url, identity, tls, events, random, clock });
    return link;
  });
}
