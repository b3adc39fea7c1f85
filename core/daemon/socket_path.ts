/**
 * Where the daemon's sockets are.
 * @module
 */

/** Path of the socket for every local user beside the main one. */
export function readOnlySocketPath(socketPath: string): string {
  return socketPath.replace(/(\.sock)?$/, ".ro.sock");
}
