/**
 * How does a table of nftables read as text for `nft -f`?
 *
 * The text replaces the table as a whole in one transaction, so that there is no moment without it,
 * and names nothing that stands outside of it.
 * @module
 */

/** A set of the table; of address ranges when it is an interval. */
export interface NftSet {
  readonly name: string;
  /** nft(8)'s type, e.g. `ipv4_addr . inet_proto . inet_service`. */
  readonly type: string;
  readonly isInterval: boolean;
  readonly elements: readonly string[];
}

/** A chain that the kernel calls. */
export interface NftChain {
  readonly name: string;
  readonly type: "filter" | "nat";
  readonly hook: "prerouting" | "forward" | "postrouting";
  readonly priority: string;
  readonly policy: "accept" | "drop";
  /** Rules in nft(8)'s words, first to last. */
  readonly rules: readonly string[];
}

/** A table of the family `inet`. */
export interface NftTable {
  readonly name: string;
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

/** Text that puts the table in place of its former self. */
export function renderTable(table: NftTable): string {
  const parts = [...table.sets.map(renderSet), ...table.chains.map(renderChain)];
  const body = parts.map((part) => part + "\n").join("\n");
  return `${renderRemoval(table.name)}table inet ${table.name} {\n${body}}\n`;
}

/** Text that removes the table, or does nothing where there is none. */
export function renderRemoval(name: string): string {
  return `table inet ${name}\ndelete table inet ${name}\n`;
}

/** A string as nft(8) reads it. */
export function quoted(text: string): string {
  if (/["\\\n*]/.test(text)) throw new RangeError(`"${text}" cannot be quoted for nft`);
  return `"${text}"`;
}

/** An anonymous set. */
export function anySet(elements: readonly (string | number)[]): string {
  return `{ ${elements.join(", ")} }`;
}

function renderSet({ name, type, isInterval, elements }: NftSet): string {
  const lines = [`type ${type}`];
  // Prefixes of which one holds the other are refused without it.
  if (isInterval) lines.push("flags interval", "auto-merge");
  if (elements.length > 0) lines.push(`elements = ${anySet(elements)}`);
  return block(`set ${name}`, lines);
}

function renderChain({ name, type, hook, priority, policy, rules }: NftChain): string {
  const head = `type ${type} hook ${hook} priority ${priority}; policy ${policy};`;
  return block(`chain ${name}`, [head, ...rules]);
}

function block(head: string, lines: readonly string[]): string {
  return [`  ${head} {`, ...lines.map((line) => `    ${line}`), "  }"].join("\n");
}
