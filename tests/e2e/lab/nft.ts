/**
 * Bad networks by nftables, on the receiving side of a machine's `eth0`.
 * @module
 */
import type { Namespace } from "./netns.ts";

/** A rule that loses packets; dispose of it to heal the network. */
export interface LossRule extends AsyncDisposable {
  /** How many packets it has lost. */
  lost(): Promise<number>;
}

/**
 * Loses that percentage of what arrives at the machine, at random. `match` narrows it down, in
 * nft syntax, e.g. `udp dport 51820`.
 */
export async function lose(machine: Namespace, percent: number, match = ""): Promise<LossRule> {
  const table = `lab${crypto.getRandomValues(new Uint8Array(4)).toHex()}`;
  const chance = percent >= 100 ? "" : `numgen random mod 10000 < ${Math.round(percent * 100)}`;
  await machine.must(["nft", "-f", "-"], {
    input: `table inet ${table} {
      chain input {
        type filter hook input priority -300
        iifname "eth0" ${match} ${chance} counter drop
      }
    }
    `,
  });
  return {
    async lost() {
      const listing = await machine.must(["nft", "list", "table", "inet", table]);
      return Number(/counter packets (\d+)/.exec(listing)?.[1] ?? 0);
    },
    async [Symbol.asyncDispose]() {
      await machine.run(["nft", "delete", "table", "inet", table]);
    },
  };
}
