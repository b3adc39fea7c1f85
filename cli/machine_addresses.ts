/**
 * By which of its addresses can other machines reach this one?
 * @module
 */

/** Those that lead out of this machine, IPv4 first. @param excluded Names of interfaces. */
export function machineAddresses(excluded: readonly string[] = []): string[] {
  const addresses = Deno.networkInterfaces().filter(({ name, address }) =>
    name !== "lo" && !excluded.includes(name) && !address.startsWith("fe80:") &&
    !address.startsWith("169.254.")
  ).map(({ address }) => address);
  const sorted = addresses.sort((a, b) => Number(a.includes(":")) - Number(b.includes(":")));
  return sorted.length > 0 ? sorted : ["127.0.0.1"];
}
