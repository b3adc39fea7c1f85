/**
 * Messages of UPnP-IGD: search (SSDP), description, and the few SOAP calls that map a port
 * (WANIPConnection 1 and 2, WANPPPConnection).
 *
 * Routers write XML in many ways. Only the text of a few elements is wanted, so it is searched for
 * with bounds; nothing is expanded or followed.
 * @module
 */
import type { Ip } from "../../core/ip.ts";

/** Where a search is multicast to. */
export const SSDP_ADDRESS = "239.255.255.250";
export const SSDP_PORT = 1900;
/** Longest text that is looked at. */
const MAX_XML = 262_144;
const SEARCHED = [
  "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
  "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
];
/** In the order in which they are wanted. */
const SERVICES = [
  "urn:schemas-upnp-org:service:WANIPConnection:2",
  "urn:schemas-upnp-org:service:WANIPConnection:1",
  "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/** Errors that users meet, in words (IGD:1 section 2.4, IGD:2). */
const ERRORS: Readonly<Record<number, string>> = {
  402: "invalid arguments",
  501: "the action failed",
  606: "action not authorized",
  713: "no such entry",
  714: "no such mapping",
  718: "the port is taken by another machine",
  724: "inside and outside port must be the same",
  725: "only permanent leases are supported",
  727: "external port must be a wildcard",
  728: "no more mappings are possible",
};
/** Errors that another request may avoid. */
export const UPNP_CONFLICT = 718;
export const UPNP_ONLY_PERMANENT = 725;

/** The service of a router that maps ports. */
export interface UpnpService {
  readonly type: string;
  readonly controlUrl: string;
}

/** The searches to send, one for each version. */
export function encodeSearches(host: string): Uint8Array<ArrayBuffer>[] {
  return SEARCHED.map((target) =>
    new TextEncoder().encode(
      `M-SEARCH * HTTP/1.1\r\nHOST: ${host}:${SSDP_PORT}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n` +
        `ST: ${target}\r\n\r\n`,
    )
  );
}

/** The address of the description in an answer to a search, or null. */
export function decodeSearchAnswer(bytes: Uint8Array): string | null {
  if (bytes.length > 4096) return null;
  const text = new TextDecoder().decode(bytes);
  if (!/^HTTP\/1\.[01] 200/.test(text)) return null;
  const location = /^location:[ \t]*(\S+)[ \t]*\r?$/im.exec(text)?.[1];
  return location && URL.canParse(location) ? location : null;
}

/** The service to use in a description, its URL made absolute; null when there is none. */
export function findService(xml: string, base: string): UpnpService | null {
  if (xml.length > MAX_XML) return null;
  const services = xml.split(/<service>/i).slice(1, 65).map((part) =>
    part.split(/<\/service>/i)[0]!
  );
  for (const type of SERVICES) {
    const found = services.find((service) => elementOf(service, "serviceType") === type);
    const path = found && elementOf(found, "controlURL");
    if (path && URL.canParse(path, base)) return { type, controlUrl: new URL(path, base).href };
  }
  return null;
}

/** Body and headers of a call. */
export interface SoapCall {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Asks for the address outside. */
export function externalAddressCall(service: UpnpService): SoapCall {
  return call(service, "GetExternalIPAddress", {});
}

/** Asks for a UDP port; a lease of 0 is permanent. */
export function addMappingCall(
  service: UpnpService,
  map: {
    readonly client: Ip;
    readonly internalPort: number;
    readonly externalPort: number;
    readonly leaseSeconds: number;
  },
): SoapCall {
  return call(service, "AddPortMapping", {
    NewRemoteHost: "",
    NewExternalPort: String(map.externalPort),
    NewProtocol: "UDP",
    NewInternalPort: String(map.internalPort),
    NewInternalClient: map.client,
    NewEnabled: "1",
    NewPortMappingDescription: "TunnelMesh",
    NewLeaseDuration: String(map.leaseSeconds),
  });
}

/** Gives a port back. */
export function deleteMappingCall(service: UpnpService, externalPort: number): SoapCall {
  return call(service, "DeletePortMapping", {
    NewRemoteHost: "",
    NewExternalPort: String(externalPort),
    NewProtocol: "UDP",
  });
}

/** The address in an answer to {@link externalAddressCall}, as the router wrote it, or null. */
export function readExternalAddress(xml: string): string | null {
  return xml.length > MAX_XML ? null : elementOf(xml, "NewExternalIPAddress");
}

/** The number and meaning of a SOAP fault. */
export function readFault(xml: string): { readonly code: number; readonly why: string } {
  const code = xml.length > MAX_XML ? 0 : Number(elementOf(xml, "errorCode") ?? 0);
  const why = ERRORS[code] ?? (code > 0 ? "refused" : "an answer that is none");
  return { code, why: `UPnP error ${code}, ${why}` };
}

function call(
  service: UpnpService,
  action: string,
  values: Readonly<Record<string, string>>,
): SoapCall {
  const inner = Object.entries(values).map(([name, value]) => `<${name}>${value}</${name}>`).join(
    "",
  );
  const body = '<?xml version="1.0"?>\r\n' +
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
    's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
    `<u:${action} xmlns:u="${service.type}">${inner}</u:${action}></s:Body></s:Envelope>\r\n`;
  const headers = {
    "content-type": 'text/xml; charset="utf-8"',
    soapaction: `"${service.type}#${action}"`,
  };
  return { headers, body };
}

/** The text of the first element of that name, whatever its prefix. */
function elementOf(xml: string, name: string): string | null {
  const match = new RegExp(`<(?:\\w+:)?${name}(?:\\s[^>]*)?>\\s*([^<]*?)\\s*<`, "i").exec(xml);
  return match ? match[1]! : null;
}
