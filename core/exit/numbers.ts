/**
 * Which of the kernel's numbers belong to a context: the mark of its sockets, its routing tables,
 * its priorities among policy rules.
 * @module
 */

/** Of what the node's own sockets send, in every context: ASCII "!t". */
export const SOCKET_MARK = 0x2174;

/** Numbers of one context. */
export interface KernelNumbers {
  /** Routing table and first rule of the way to an exit. */
  readonly exit: { readonly table: number; readonly priority: number };
  /** The same of networks behind routers. */
  readonly subnets: { readonly table: number; readonly priority: number };
}

const FIRST_TABLE = 8564;
const FIRST_PRIORITY = 4200;
/** Priorities of one context, with room to grow. */
const PRIORITIES = 20;
const SUBNETS_AT = 10;
/** Before the priorities of the system's own tables, 32766 and 32767. */
const PLACES = 1000;

/** The numbers of a context; `default` has the first, others what their name gives. */
export function kernelNumbers(context: string): KernelNumbers {
  const place = context === "default" ? 0 : 1 + hash(context) % (PLACES - 1);
  const table = FIRST_TABLE + 2 * place;
  const priority = FIRST_PRIORITY + PRIORITIES * place;
  return {
    exit: { table, priority },
    subnets: { table: table + 1, priority: priority + SUBNETS_AT },
  };
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0)!, 0x01000193);
  return value >>> 0;
}
