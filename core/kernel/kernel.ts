/**
 * The packet kernel as TypeScript sees it: functions over byte offsets in one shared memory.
 *
 * The sources are in `assembly/`; `deno task build:kernel` compiles them. Offsets and lengths that
 * callers pass must lie in that memory; what lies there may be an attacker's.
 * @module
 */

/** What {@link Kernel.join} answers. */
export const JOIN = {
  /** A piece of no known kind: drop it. */
  refused: 0,
  /** It goes alone, behind the open run; its vnet header is written. */
  alone: 1,
  /** It can start a run once the open one has ended. */
  starts: 2,
  /** It belongs to the open run. */
  joined: 3,
} as const;

/** Bytes of the vnet header before each packet of a TUN (virtio specification, 5.1.6). */
export const VNET_BYTES = 10;
/** Offsets in it; its first byte holds flags, its numbers have the machine's byte order. */
export const VNET = { gsoType: 1, gsoSize: 4, checksumStart: 6, checksumOffset: 8 } as const;
/** A flag of the vnet header: the checksum there is only that of the pseudo-header. */
export const NEEDS_CHECKSUM = 1;
/** No super-packet. */
export const GSO_NONE = 0;
/** UDP datagrams of one size (`VIRTIO_NET_HDR_GSO_UDP_L4`). */
export const GSO_UDP = 5;
/** Bytes of scratch memory that an instance needs. */
export const SCRATCH_BYTES = 65_536;
/** Bytes of a row of {@link Kernel.sealBatch}: at, length, counter (two words), verdict. */
export const ROW_BYTES = 20;

/** The exported functions; see `assembly/` for their full contracts. */
export interface Kernel {
  /** Tells the instance where its scratch memory is; once, before all else. */
  setScratch(at: number): void;
  /** Encrypts the messages of `count` rows in place and appends their tags. */
  sealBatch(rows: number, count: number, key: number): void;
  /** Verifies and decrypts messages in place; a row's last word becomes 1 or 0. */
  openBatch(rows: number, count: number, key: number): number;
  /** The Internet checksum of a range (RFC 1071). */
  internetChecksum(at: number, length: number): number;
  /** Bytes of headers of a super-packet, 0 when it is malformed. */
  superHeader(at: number, length: number): number;
  /** Cuts segments out of a super-packet. */
  segment(
    source: number,
    length: number,
    header: number,
    size: number,
    out: number,
    stride: number,
    first: number,
    count: number,
    isPiece: number,
  ): void;
  /** Makes a packet with an unfinished checksum a piece; 0 when it cannot be one. */
  piece(at: number, length: number): number;
  /** Finishes a checksum that the kernel began; 0 when it lies outside the packet. */
  finishChecksum(at: number, length: number, start: number, offset: number): number;
  /** Whether a received packet belongs to the open run; answers a {@link JOIN}. */
  join(
    at: number,
    length: number,
    isPiece: number,
    mayJoinTcp: number,
    mayJoinUdp: number,
  ): number;
  /** Opens a run. */
  start(at: number, length: number, isPiece: number): void;
  /** Ends the open run and writes its headers. */
  finish(): void;
  /** Bytes of headers of the open run's packets. */
  runHeader(): number;
}

/** Compiles and instantiates the kernel over `memory`. Each thread makes its own instance. */
export function instantiateKernel(code: BufferSource, memory: WebAssembly.Memory): Kernel {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } });
  return instance.exports as unknown as Kernel;
}
