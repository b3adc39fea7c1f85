/**
 * Where do things live? Every default path, in one place.
 * @module
 */
import type { Host } from "./host.ts";

/** The context of whoever never names one. */
export const DEFAULT_CONTEXT = "default";

/** The user's folder for identity, contexts and configuration. */
export function userDir(host: Host): string {
  return `${host.home}/.tunnelmesh`;
}

/** The identity key: one for each mesh, so that two meshes cannot tell that they share a machine. */
export function identityPath(host: Host, context: string): string {
  return `${userDir(host)}/id_ed25519${context === DEFAULT_CONTEXT ? "" : `-${context}`}`;
}

/** The file of named contexts. */
export function contextsPath(host: Host): string {
  return `${userDir(host)}/contexts.json`;
}

/** A node's state directory. */
export function stateDir(host: Host, context: string): string {
  return host.isRoot ? `/var/lib/tunnelmesh/${context}` : `${userDir(host)}/state/${context}`;
}

/** The data directory of a context's coordinator. No context may be called like the first. */
export function dataDir(host: Host, context: string): string {
  if (context !== DEFAULT_CONTEXT) return `${stateDir(host, context)}/coordinator`;
  return host.isRoot ? "/var/lib/tunnelmesh/coordinator" : `${userDir(host)}/coordinator`;
}

/** Where this user's daemon listens. */
export function socketPath(host: Host, context: string, state = stateDir(host, context)): string {
  return host.isRoot ? systemSocketPath(context) : `${state}/daemon.sock`;
}

/** Where root's daemon listens. */
export function systemSocketPath(context: string): string {
  return `/run/tunnelmesh/${context}.sock`;
}

/** The mesh interface unless that is in use: each context has its own. Linux allows 15 bytes. */
export function interfaceName(context: string): string {
  return context === DEFAULT_CONTEXT ? "tun-mesh0" : `tun-${context}`.slice(0, 15);
}

/** The most files in which a node's configuration may be, the first that exists counts. */
export function peerFiles(host: Host, context: string): string[] {
  if (context !== DEFAULT_CONTEXT) {
    return [`${userDir(host)}/config-${context}.yaml`, `/etc/tunnelmesh/${context}.yaml`];
  }
  return [
    `${userDir(host)}/config.yaml`,
    `${host.cwd}/tunnelmesh.yaml`,
    `${host.cwd}/peer.yaml`,
    "/etc/tunnelmesh/config.yaml",
    "/etc/tunnelmesh/peer.yaml",
  ];
}

/** The same for a coordinator's configuration. */
export function serverFiles(host: Host): string[] {
  return [
    `${host.cwd}/server.yaml`,
    `${host.cwd}/tunnelmesh-server.yaml`,
    "/etc/tunnelmesh/server.yaml",
  ];
}

/** Makes a path absolute: `~` is the home, anything else relative starts at `base`. */
export function absolutePath(host: Host, path: string, base = host.cwd): string {
  if (path === "~" || path.startsWith("~/")) return host.home + path.slice(1);
  const joined = path.startsWith("/") ? path : `${base}/${path}`;
  const parts: string[] = [];
  for (const part of joined.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return "/" + parts.join("/");
}

/** The directory of an absolute path. */
export function directoryOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}
