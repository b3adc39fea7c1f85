/**
 * Which links does a node have beside UDP? SSH, and a relay through each coordinator.
 * @module
 */
import type { LinkWiring, ReportingLink } from "../core/daemon/carriers.ts";
import { tlsOptions } from "../core/daemon/tls_pin.ts";
import { keepPort, portToTry } from "../core/daemon/kept_port.ts";
import type { StateDir } from "../core/daemon/state_dir.ts";
import type { Identity } from "../core/identity/keys.ts";
import type { LinkEvents } from "../core/link.ts";
import { connectThrough, parseProxy } from "../core/platform/proxy.ts";
import { RelayLink } from "../transports/relay/client.ts";
import { SshLink } from "../transports/ssh/link.ts";

/** What links are chosen by. */
export interface LinkOptions {
  readonly identity: Identity;
  /** Keeps the port that was found. */
  readonly state: StateDir;
  /** PEM that coordinators are checked against; null for the system's roots. */
  readonly caCertificate: string | null;
  /** TCP port of the SSH link; 0 for none. */
  readonly sshPort: number;
  /** HTTP proxy for all of them, or null. */
  readonly proxy: string | null;
}

/** Where the SSH port is kept. */
const SSH_PORT_FILE = "ssh-port.json";

/** Makes the links but for relays; each connects by itself from here on. */
export async function openLinks(
  options: LinkOptions,
  wiring: LinkWiring,
): Promise<ReportingLink[]> {
  return options.sshPort === 0 ? [] : [await openSsh(options, wiring)];
}

/** Makes a link through the coordinator at `https://host:port`. */
export function openRelay(
  { identity, caCertificate, proxy }: LinkOptions,
  origin: string,
  { clock, random, events }: LinkWiring,
): ReportingLink {
  const url = origin.replace(/^https:/, "wss:");
  const link: RelayLink = new RelayLink({
    url,
    identity,
    tls: tlsOptions(caCertificate),
    // Its name is known only once it is made; no event comes before that.
    events: lateEvents(() => events(link.name)),
    random,
    clock,
    // A coordinator on this machine needs none.
    proxy: /\/\/(localhost|127\.|\[::1\])/.test(url) ? null : proxy,
  });
  return link;
}

async function openSsh(options: LinkOptions, wiring: LinkWiring): Promise<SshLink> {
  const { identity, state, sshPort } = options;
  const { clock, random, publicKeyOf, peerOf } = wiring;
  const proxy = options.proxy === null ? null : parseProxy(options.proxy);
  const port = await portToTry(state, SSH_PORT_FILE, sshPort);
  const open = (hostname: string) =>
    SshLink.open({
      identity,
      listen: { hostname, port },
      publicKeyOf,
      peerOf,
      events: wiring.events("ssh"),
      random,
      clock,
      ...(proxy
        ? {
          connect: (hostname: string, port: number, signal: AbortSignal) =>
            connectThrough(proxy, { hostname: bracketed(hostname), port }, signal),
        }
        : {}),
    });
  // A system without IPv6 refuses the first.
  const link = await open("::").catch(() => open("0.0.0.0"));
  await keepPort(state, SSH_PORT_FILE, { wanted: sshPort, bound: link.port! });
  return link;
}

function lateEvents(events: () => LinkEvents): LinkEvents {
  return {
    received: (peer, train) => events().received(peer, train),
    changed: (peer, isUp, why) => events().changed(peer, isUp, why),
  };
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
