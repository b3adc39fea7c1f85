/**
 * Values as people write them: durations, and addresses to listen on or to reach.
 * @module
 */
import { canonicalIp, type Ip } from "../ip.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds of `10s`, `1m30s`, `500ms`, `24h`, `7d`; null when `text` is none of these. */
export function parseDuration(text: string): number | null {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== text) return null;
  const total = parts.reduce((sum, [, value, unit]) => sum + Number(value) * UNIT_MS[unit!]!, 0);
  return Number.isSafeInteger(Math.round(total)) ? Math.round(total) : null;
}

/** A host and a port; a null host is every address of the machine. */
export interface HostPort {
  readonly host: string | null;
  readonly port: number;
}

/** Splits `:8443`, `8443`, `192.0.2.1:8443`, `[::1]:8443`; null when `text` is none of these. */
export function parseListen(text: string): HostPort | null {
  const match = /^(?:(?:\[([^\]]*)\]|([0-9.]*)|(\*)):)?(\d{1,5})$/.exec(text);
  if (!match) return null;
  const port = Number(match[4]);
  if (port < 1 || port > 65535) return null;
  const address = match[1] ?? match[2] ?? "";
  if (address === "") return match[1] === undefined ? { host: null, port } : null;
  const ip = canonicalIp(address);
  if (!ip || ip.includes(":") !== (match[1] !== undefined)) return null;
  return { host: ip, port };
}

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

/** Canonical address or lower-case host name, or null; brackets around IPv6 are optional. */
export function parseHost(text: string): Ip | string | null {
  const ip = canonicalIp(text.replace(/^\[(.*)\]$/, "$1"));
  if (ip) return ip;
  // A last label of digits only is a mistyped address, not a name (RFC 1123 section 2.1).
  if (!HOST_NAME.test(text) || /(^|\.)\d+$/.test(text)) return null;
  return text.toLowerCase();
}

/** Splits `vpn.example.com:51820` or an address with a port; null when `text` is neither. */
export function parseHostPort(text: string): { host: string; port: number } | null {
  const match = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(text);
  if (!match) return null;
  const host = parseHost(match[1]!);
  const port = Number(match[2]);
  if (!host || host.includes(":") !== match[1]!.startsWith("[")) return null;
  return port < 1 || port > 65535 ? null : { host, port };
}

/** The coordinator's port when a URL names none. */
export const COORDINATOR_PORT = 8443;

/** Why {@link parseCoordinatorUrl} refused. */
export interface UrlRefusal {
  readonly refusal: string;
}

/**
 * Normalises what people write for a coordinator (`https://a:8443`, `a:8443`, `a`) to
 * `https://host:port`. The scheme defaults to https and the port to 8443; plain http, a path or
 * credentials are refused.
 */
export function parseCoordinatorUrl(text: string): string | UrlRefusal {
  const match = /^(?:([a-z][a-z0-9+.-]*):\/\/)?([^/?#]*)(.*)$/i.exec(text.trim())!;
  const scheme = match[1]?.toLowerCase() ?? "https";
  const [authority, rest] = [match[2]!, match[3]!];
  if (scheme === "http") {
    return { refusal: "plain http would let anyone on the way answer as the coordinator" };
  }
  if (scheme !== "https") return { refusal: `the scheme "${scheme}" is not https` };
  if (authority.includes("@")) return { refusal: "it must not hold credentials" };
  if (rest !== "" && rest !== "/") return { refusal: "it must not have a path" };
  const bare = parseHost(authority);
  const at = bare ? { host: bare, port: COORDINATOR_PORT } : parseHostPort(authority);
  if (!at) return { refusal: "it is not HOST, HOST:PORT or https://HOST:PORT" };
  const host = at.host.includes(":") ? `[${at.host}]` : at.host;
  return `https://${host}:${at.port}`;
}
