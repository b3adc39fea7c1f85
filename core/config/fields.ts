/**
 * The kinds of values that a configuration holds, each with the message a wrong one gets.
 *
 * Values stay as written: `normalise.ts` turns them into what the program uses.
 * @module
 */
import { z } from "zod";
import { parseOffer } from "../exit/offers.ts";
import { canonicalIp, parsePrefix } from "../ip.ts";
import {
  parseCoordinatorUrl,
  parseDuration,
  parseHost,
  parseHostPort,
  parseListen,
} from "./units.ts";

declare module "zod" {
  interface GlobalMeta {
    /** Unit of a number, e.g. `bytes`. */
    unit?: string;
    /** A value to show where the default says nothing. */
    example?: unknown;
    /** Never printed; a file that holds it should be readable by its owner only. */
    secret?: boolean;
    /** The part of TunnelMesh that reads it, when this version has no such part. */
    unavailable?: string;
    /** Dotted path of the setting that this key is another spelling of. */
    aliasFor?: string;
    /** Environment variable of a setting at the top, when not `TUNNELMESH_` and its name. */
    env?: string;
    /** What happens when it is absent, where a default value cannot say it. */
    whenAbsent?: string;
  }
}

/** Text that is not empty. */
export function text() {
  return z.string().min(1, "must not be empty");
}

/** A file system path; `~/` is the user's home, a relative one starts at the file's folder. */
export function path() {
  return text();
}

/** `10s`, `1m30s`, within bounds in milliseconds. */
export function duration(minMs = 1, maxMs = Number.MAX_SAFE_INTEGER) {
  return z.string().refine((value) => {
    const ms = parseDuration(value);
    return ms !== null && ms >= minMs && ms <= maxMs;
  }, {
    error: maxMs === Number.MAX_SAFE_INTEGER
      ? "must be a duration such as 30s or 1m30s"
      : `must be a duration from ${minMs / 1000}s to ${maxMs / 1000}s`,
  });
}

/** A TCP or UDP port. */
export function port() {
  return z.int("must be a whole number").min(1, "must be a port from 1 to 65535")
    .max(65535, "must be a port from 1 to 65535");
}

/** `:PORT` or `ADDRESS:PORT`. */
export function listen() {
  return z.string().refine((value) => parseListen(value) !== null, {
    error: "must be :PORT or ADDRESS:PORT, IPv6 in brackets",
  });
}

/** `HOST:PORT` to reach, the host an address or a name. */
export function hostPort() {
  return z.string().refine((value) => parseHostPort(value) !== null, {
    error: "must be HOST:PORT, IPv6 in brackets",
  });
}

/** `http://[user:password@]host:port` of an HTTP proxy. */
export function proxy() {
  return z.string().refine((value) => {
    const url = URL.canParse(value) ? new URL(value) : null;
    return url?.protocol === "http:" && url.pathname === "/" && url.search + url.hash === "";
  }, { error: "must be http://HOST:PORT, with USER:PASSWORD@ before the host where it asks" });
}

/** A host name or an address. */
export function host() {
  return z.string().refine((value) => parseHost(value) !== null, {
    error: "must be a host name or an address",
  });
}

/** An IP address. */
export function address() {
  return z.string().refine((value) => canonicalIp(value) !== null, {
    error: "must be an IPv4 or IPv6 address",
  });
}

/** A coordinator's URL, in any of the forms {@link parseCoordinatorUrl} takes. */
export function coordinatorUrl() {
  return z.string().superRefine((value, context) => {
    const url = parseCoordinatorUrl(value);
    if (typeof url !== "string") {
      context.addIssue({
        code: "custom",
        message: `must be an https URL of a coordinator: ${url.refusal}`,
      });
    }
  });
}

/** An IPv4 range from /8 to /29 whose host bits are zero. */
export function meshCidr() {
  return z.string().refine((value) => {
    const prefix = value.includes("/") ? parsePrefix(value) : null;
    return prefix !== null && prefix.bytes.length === 4 && prefix.bits >= 8 && prefix.bits <= 29;
  }, { error: "must be an IPv4 range from /8 to /29 without host bits, such as 172.30.0.0/16" });
}

/** An address range, or one address. */
export function prefix() {
  return z.string().refine((value) => parsePrefix(value) !== null, {
    error: "must be an address range without host bits, such as 10.0.0.0/8 or fd00::/64",
  });
}

/** A network behind a node, perhaps known to the mesh by another range. */
export function offeredRoute() {
  return z.string().refine((value) => parseOffer(value) !== null, {
    error: "must be a network such as 192.168.7.0/24, or two of the same length such as " +
      "192.168.7.0/24 as 10.77.7.0/24",
  });
}

/** A 32-byte key in base64, as `wg genkey` and `wg pubkey` print it. */
export function wireguardKey() {
  return z.string().regex(
    /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/,
    "must be a WireGuard key: 32 bytes in base64, 44 characters",
  );
}

/** A name that Linux accepts for a network interface. */
export function interfaceName() {
  return z.string().regex(
    /^(?!\.{1,2}$)[^\s/:]{1,15}$/,
    "must be 1 to 15 characters without spaces, slashes or colons",
  );
}

/** A size such as `1Gi`, `500M`. */
export function size() {
  return z.union([z.int().min(0), z.string().regex(/^\d+(\.\d+)?\s*([KMGTP]i?)?B?$/i)], {
    error: "must be a size such as 1Gi or 500M",
  });
}

/** A part with settings of its own; a key that is not in `shape` is an error. */
export function part<T extends z.ZodRawShape>(shape: T, description: string) {
  return z.strictObject(shape).optional().meta({ description });
}

/** Marks a setting of a part that this version does not have: accepted, warned about when set. */
export function unavailable<T extends z.ZodType>(schema: T, part: string, description: string) {
  return schema.meta({ description, unavailable: part });
}
