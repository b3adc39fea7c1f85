import assert from "node:assert/strict";
import { KernelRig } from "../../tests/kernel_rig.ts";
import {
  checksum,
  hasRightChecksums,
  payloadAt,
  sequenceOf,
  transportAt,
  transportPacket,
} from "../../tests/transport_packets.ts";
import { SeededRandom } from "../random.ts";
import { JOIN, VNET_BYTES } from "./kernel.ts";

const PIECE = 0x80;
const FIN = 1, PSH = 8, ACK = 16;
const random = new SeededRandom(11);
const rig = new KernelRig(1 << 20);
const { kernel, bytes } = rig;
/** Where super-packets are put, and their segments go. */
const SOURCE = rig.free, OUT = rig.free + 131_072;

const KINDS = [
  { protocol: "tcp", source: "172.30.0.1" },
  { protocol: "tcp", source: "fd00::1" },
  { protocol: "udp", source: "172.30.0.1" },
  { protocol: "udp", source: "fd00::1" },
] as const;

/** Puts `packet` into the kernel's memory and cuts it; returns the segments. */
function cut(packet: Uint8Array, size: number, isPiece: boolean): Uint8Array[] {
  bytes.set(packet, SOURCE);
  const header = kernel.superHeader(SOURCE, packet.length);
  assert.equal(header, payloadAt(packet));
  const payload = packet.length - header;
  const count = Math.ceil(payload / size);
  const stride = header + size + 32;
  kernel.segment(SOURCE, packet.length, header, size, OUT, stride, 0, count, isPiece ? 1 : 0);
  return Array.from({ length: count }, (_, i) => {
    const length = header + Math.min(size, payload - i * size);
    return bytes.slice(OUT + i * stride, OUT + i * stride + length);
  });
}

/** Feeds packets to the coalescer as a receiver would; returns what it would write to the TUN. */
function joinAll(packets: readonly Uint8Array[], isPiece: boolean, mayJoin = true): Uint8Array[] {
  const written: Uint8Array[] = [];
  let parts: [number, number][] = [];
  const flush = () => {
    if (parts.length === 0) return;
    kernel.finish();
    submit();
  };
  const submit = () => {
    written.push(Uint8Array.from(parts.flatMap(([at, end]) => [...bytes.subarray(at, end)])));
    parts = [];
  };
  packets.forEach((packet, i) => {
    const at = OUT + i * 2048 + 16;
    bytes.set(packet, at);
    if (isPiece) bytes[at] = bytes[at]! & ~PIECE;
    const flag = mayJoin ? 1 : 0;
    const fit = kernel.join(at, packet.length, isPiece ? 1 : 0, flag, flag);
    if (fit === JOIN.joined) {
      parts.push([at + kernel.runHeader(), at + packet.length]);
      return;
    }
    if (fit === JOIN.refused) return;
    flush();
    parts.push([at - VNET_BYTES, at + packet.length]);
    if (fit === JOIN.starts) kernel.start(at, packet.length, isPiece ? 1 : 0);
    else submit();
  });
  flush();
  return written;
}

/** What the kernel makes of a packet with its vnet header: the complete packet. */
function complete(written: Uint8Array): { packet: Uint8Array; gsoType: number; gsoSize: number } {
  const view = new DataView(written.buffer, written.byteOffset);
  const packet = written.slice(VNET_BYTES);
  const gsoType = written[1]!, gsoSize = view.getUint16(4, true);
  if (written[0] === 1) {
    const start = view.getUint16(6, true), offset = view.getUint16(8, true);
    const sum = checksum(packet.subarray(start));
    const isUdp = offset === 6;
    new DataView(packet.buffer).setUint16(start + offset, sum === 0 && isUdp ? 0xffff : sum);
  }
  return { packet, gsoType, gsoSize };
}

Deno.test("internetChecksum() is RFC 1071's at every length and alignment", () => {
  for (let length = 0; length < 300; length++) {
    const data = random.bytes(length);
    bytes.set(data, SOURCE + length % 7);
    assert.equal(kernel.internetChecksum(SOURCE + length % 7, length), checksum(data), `${length}`);
  }
  const ones = new Uint8Array(65_535).fill(0xff);
  bytes.set(ones, SOURCE);
  assert.equal(kernel.internetChecksum(SOURCE, 65_535), checksum(ones));
});

for (const kind of KINDS) {
  const name = `${kind.protocol} over ${kind.source.includes(":") ? "IPv6" : "IPv4"}`;

  Deno.test(`segment() cuts ${name} into packets that a stack would have sent`, () => {
    const payload = random.bytes(5000);
    const flags = ACK | PSH | FIN;
    const packet = transportPacket({ ...kind, payload, sequence: 0xffff_f000, flags, id: 65_534 });
    const segments = cut(packet, 1360, false);
    assert.deepEqual(segments.map((each) => each.length - payloadAt(each)), [
      1360,
      1360,
      1360,
      920,
    ]);
    let offset = 0;
    segments.forEach((segment, i) => {
      assert.ok(hasRightChecksums(segment), `segment ${i}`);
      const part = segment.subarray(payloadAt(segment));
      assert.deepEqual(part, payload.subarray(offset, offset + part.length));
      if (kind.protocol === "tcp") {
        assert.equal(sequenceOf(segment), (0xffff_f000 + offset) >>> 0);
        const isLast = i === segments.length - 1;
        assert.equal(segment[transportAt(segment) + 13], isLast ? flags : ACK);
      }
      if (!kind.source.includes(":")) {
        assert.equal((segment[4]! << 8) | segment[5]!, (65_534 + i) & 0xffff);
      }
      offset += part.length;
    });
  });

  for (const isPiece of [false, true]) {
    const form = isPiece ? "pieces" : "packets";
    Deno.test(`join() makes one super-packet of ${form} of ${name}`, () => {
      const payload = random.bytes(20_000);
      const packet = transportPacket({ ...kind, payload, flags: ACK | PSH });
      const [written, ...others] = joinAll(cut(packet, 1400, isPiece), isPiece);
      assert.deepEqual(others, []);
      const { packet: joined, gsoSize, gsoType } = complete(written!);
      assert.deepEqual(joined, packet);
      assert.equal(gsoSize, 1400);
      const isIpv6 = kind.source.includes(":");
      assert.equal(gsoType, kind.protocol === "udp" ? 5 : isIpv6 ? 4 : 1);
    });

    Deno.test(`join() passes ${form} of ${name} on, whatever is lost or out of order`, () => {
      const payload = random.bytes(20_000);
      const segments = cut(transportPacket({ ...kind, payload }), 1400, isPiece);
      const whole = cut(transportPacket({ ...kind, payload }), 1400, false);
      for (let run = 0; run < 200; run++) {
        const order = segments.map((_, i) => i).filter(() => random.uint32() % 8 !== 0);
        const [a, b] = [random.uint32() % order.length, random.uint32() % order.length];
        [order[a], order[b]] = [order[b]!, order[a]!];
        const written = joinAll(order.map((i) => segments[i]!), isPiece);
        const seen = written.flatMap((each) => {
          const { packet, gsoSize, gsoType } = complete(each);
          assert.ok(hasRightChecksums(packet), `run ${run}`);
          return gsoType === 0 ? [packet] : cut(packet, gsoSize, false);
        });
        const payloads = (list: readonly Uint8Array[]) =>
          list.map((each) => each.slice(payloadAt(each)));
        assert.deepEqual(payloads(seen), payloads(order.map((i) => whole[i]!)), `run ${run}`);
      }
    });
  }
}

Deno.test("join() keeps packets of different streams, acknowledgements and options apart", () => {
  const base = { protocol: "tcp", payload: random.bytes(1000) } as const;
  const first = transportPacket(base);
  const next = { ...base, sequence: 1001 };
  const strangers = [
    transportPacket({ ...next, sourcePort: 40_001 }),
    transportPacket({ ...next, source: "172.30.0.9" }),
    transportPacket({ ...next, acknowledgement: 8 }),
    transportPacket({ ...next, options: new Uint8Array(12).fill(2) }),
    transportPacket({ ...next, options: new Uint8Array(8).fill(1) }),
    transportPacket({ ...next, flags: ACK | FIN }),
    transportPacket({ ...next, sequence: 1002 }),
    transportPacket({ ...next, payload: random.bytes(1001) }),
  ];
  for (const [i, stranger] of strangers.entries()) {
    const written = joinAll([first, stranger], false).map((each) => complete(each).packet);
    assert.deepEqual(written, [first, stranger], `stranger ${i}`);
  }
  assert.equal(joinAll([first, transportPacket(next)], false).length, 1);
  assert.equal(joinAll([first, transportPacket(next)], false, false).length, 2, "switched off");
});

Deno.test("join() never hides a wrong checksum in a super-packet", () => {
  const base = { protocol: "tcp", payload: random.bytes(1000) } as const;
  const good = transportPacket(base);
  const bad = transportPacket({ ...base, sequence: 1001 });
  bad[bad.length - 1]! ^= 1;
  const written = joinAll([good, bad], false).map((each) => complete(each).packet);
  assert.deepEqual(written, [good, bad]);
  assert.deepEqual(joinAll([bad, good], false).map((each) => complete(each).packet), [bad, good]);
});

Deno.test("join() refuses pieces that are neither TCP nor UDP", () => {
  const icmp = transportPacket({ protocol: "udp", payload: random.bytes(100) });
  icmp[9] = 1;
  const fragment = transportPacket({ protocol: "udp", payload: random.bytes(100) });
  fragment[6] = 0x20;
  const lying = transportPacket({ protocol: "udp", payload: random.bytes(100) });
  lying[25]! += 1;
  const short = transportPacket({ protocol: "tcp", payload: random.bytes(10) });
  short[32] = 0xf0;
  assert.deepEqual(joinAll([icmp, fragment, lying, short], true), []);
  assert.equal(joinAll([icmp, fragment, lying, short], false).length, 4);
});

Deno.test("finishChecksum() completes what the kernel left, within the packet only", () => {
  const packet = transportPacket({ protocol: "udp", payload: random.bytes(99) });
  const [piece] = joinAll([packet], true);
  const partial = piece!.slice(VNET_BYTES);
  bytes.set(partial, SOURCE);
  assert.equal(kernel.finishChecksum(SOURCE, partial.length, 20, 6), 1);
  assert.deepEqual(bytes.slice(SOURCE, SOURCE + packet.length), packet);
  for (const [start, offset] of [[20, 200], [200, 6], [126, 0], [0xffff, 0xffff]] as const) {
    rig.guard(SOURCE + packet.length, 64);
    assert.equal(kernel.finishChecksum(SOURCE, packet.length, start, offset), 0);
    assert.ok(rig.isIntact(SOURCE + packet.length, 64));
  }
});
