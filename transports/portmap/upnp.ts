/**
 * Messages of UPnP-IGD: search (SSDP), description, and the few SOAP calls that map a port
 * (WANIPConnection 1 and 2, WANPPPConnection) or let datagrams in over IPv6 (WANIPv6FirewallControl).
 *
 * Routers write XML in many ways. Only the text of a few elements is wanted, so it is searched for
 * with bounds; nothing is expanded or followed.
 * @module
 */
import { formatEndpoint, type Ip } from "../../core/ip.ts";

/** Where a search is multicast to; over IPv6 it stays on the link. */
export const SSDP_ADDRESS = "239.255.255.250";
export const SSDP_ADDRESS6 = "ff02::c";
export const SSDP_PORT = 1900;
/** Longest text that is looked at. */
const MAX_XML = 262_144;
const SEARCHED = [
  "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
  "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
];
/** Those that map ports, in the order in which they are wanted. */
export const MAPPING_SERVICES: readonly string[] = [
  "urn:schemas-upnp-org:service:WANIPConnection:2",
  "urn:schemas-upnp-org:service:WANIPConnection:1",
  "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/** Those that make pinholes. */
export const FIREWALL_SERVICES: readonly string[] = [
  "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1",
];
/** Number of the protocol UDP (IANA). */
const UDP = 17;
/** Errors that users meet, in words (IGD:1 section 2.4, IGD:2, WANIPv6FirewallControl:1). */
const ERRORS: Readonly<Record<number, string>> = {
  402: "invalid arguments",
  501: "the action failed",
  606: "action not authorized",
  701: "no more pinholes are possible",
  702: "the firewall is off",
  703: "pinholes are not allowed",
  704: "no such pinhole",
  705: "the protocol is not supported",
  708: "the other end must be named",
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

/** A service of a router. */
export interface UpnpService {
  readonly type: string;
  readonly controlUrl: string;
}

/** The searches to send, one for each version. */
export function encodeSearches(host: string): Uint8Array<ArrayBuffer>[] {
  return SEARCHED.map((target) =>
    new TextEncoder().encode(
      `M-SEARCH * HTTP/1.1\r\nHOST: ${formatEndpoint(host, SSDP_PORT)}\r\n` +
        `MAN: "ssdp:discover"\r\nMX: 1\r\nST: ${target}\r\n\r\n`,
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

/** The first of the wanted services in a description, its URL made absolute; null without any. */
export function findService(
  xml: string,
  base: string,
  types: readonly string[] = MAPPING_SERVICES,
): UpnpService | null {
  if (xml.length > MAX_XML) return null;
  const services = xml.split(/<service>/i).slice(1, 65).map((part) =>
    part.split(/<\/service>/i)[0]!
  );
  for (const type of types) {
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

/** Asks that datagrams from anybody get in to a UDP port of this machine. */
export function addPinholeCall(
  service: UpnpService,
  pinhole: { readonly client: Ip; readonly port: number; readonly leaseSeconds: number },
): SoapCall {
  return call(service, "AddPinhole", {
    RemoteHost: "",
    RemotePort: "0",
    InternalClient: pinhole.client,
    InternalPort: String(pinhole.port),
    Protocol: String(UDP),
    LeaseTime: String(pinhole.leaseSeconds),
  });
}

/** Keeps a pinhole for so long from now on. */
export function updatePinholeCall(
  service: UpnpService,
  id: number,
  leaseSeconds: number,
): SoapCall {
  return call(service, "UpdatePinhole", {
    UniqueID: String(id),
    NewLeaseTime: String(leaseSeconds),
  });
}

/** Closes a pinhole. */
export function deletePinholeCall(service: UpnpService, id: number): SoapCall {
  return call(service, "DeletePinhole", { UniqueID: String(id) });
}

/** The number of the pinhole (16 bits) in an answer to {@link addPinholeCall}, or null. */
export function readPinholeId(xml: string): number | null {
  const text = xml.length > MAX_XML ? null : elementOf(xml, "UniqueID");
  return text !== null && /^\d{1,5}$/.test(text) && Number(text) <= 0xffff ? Number(text) : null;
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

/** The text of the first element of that name, whatever its prefix; in linear time. */
function elementOf(xml: string, name: string): string | null {
  const match = new RegExp(`<(?:\\w+:)?${name}(?:\\s[^<>]*)?>([^<]*)<`, "i").exec(xml);
  return match ? match[1]!.trim() : null;
}
