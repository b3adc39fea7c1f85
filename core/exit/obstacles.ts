/**
 * Which chains of other programs keep an exit node from forwarding, and who has to allow it?
 *
 * A packet has to pass every chain of the kernel's forward hook, whatever another one has accepted.
 * Docker and ufw drop there what they do not know. Their rules are not ours to change, so the user
 * is told what to allow.
 * @module
 */

/** A chain that drops what no rule of its own accepts. */
export interface Obstacle {
  /** For users, e.g. `ip filter FORWARD`. */
  readonly chain: string;
  /** A command for the user that lets members' traffic pass. */
  readonly allow: string;
}

interface ListedChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

/** Chains in what `nft --json list chains` prints, those of table `own` left out. */
export function nftObstacles(listing: string, own: string, interfaceName: string): Obstacle[] {
  const entries = (JSON.parse(listing) as { nftables: { chain?: ListedChain }[] }).nftables;
  const chains = entries.flatMap(({ chain }) => chain ? [chain] : []);
  return chains.filter(({ table, hook, policy }) =>
    table !== own && hook === "forward" && policy === "drop"
  ).map(({ family, table, name }) => {
    const names = chains.filter((each) => each.family === family && each.table === table)
      .map((each) => each.name);
    const isIptables = table === "filter" && name === "FORWARD";
    const chain = `${family} ${table} ${name}`;
    const command = family === "ip6" ? "ip6tables" : "iptables";
    if (isIptables) return { chain, allow: allowByIptables(command, names, interfaceName) };
    return { chain, allow: `nft insert rule ${chain} iifname "${interfaceName}" accept` };
  });
}

/** The same for what `iptables-legacy -S` or `ip6tables-legacy -S` prints. */
export function legacyObstacles(
  listing: string,
  command: "iptables-legacy" | "ip6tables-legacy",
  interfaceName: string,
): Obstacle[] {
  if (!/^-P FORWARD DROP$/m.test(listing)) return [];
  const names = [...listing.matchAll(/^-N (\S+)$/gm)].map(([, name]) => name!);
  return [{
    chain: `${command} filter FORWARD`,
    allow: allowByIptables(command, names, interfaceName),
  }];
}

function allowByIptables(command: string, chains: readonly string[], device: string): string {
  if (chains.includes("ufw-user-forward") || chains.includes("ufw6-user-forward")) {
    return `ufw route allow in on ${device}`;
  }
  // Docker leaves this chain to the user, and alone.
  const chain = chains.includes("DOCKER-USER") ? "DOCKER-USER" : "FORWARD";
  const answers = "-m conntrack --ctstate RELATED,ESTABLISHED";
  return `${command} -I ${chain} -i ${device} -j ACCEPT && ` +
    `${command} -I ${chain} -o ${device} ${answers} -j ACCEPT`;
}
