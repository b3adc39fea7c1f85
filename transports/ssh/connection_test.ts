import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { TEST_LIMITS, until } from "./_pair.ts";
import { MAX_QUEUED_BYTES, SshConnection } from "./connection.ts";
import { encodeKeepAlive } from "./frames.ts";
import type { Limits } from "./limits.ts";

const TRAIN = { bytes: new Uint8Array(45 * 1452), segment: 1452 };

/** A connection over streams that swallow what is written, or hold it until told otherwise. */
class Rig {
  readonly problems: string[] = [];
  now = 0;
  rekeys = 0;
  written = 0;
  release: () => void = () => {};
  readonly channel = new Duplex({
    read: () => {},
    // As ssh2 does: the socket's queue has no bound.
    write: (chunk, _encoding, done) => {
      this.socket.write(chunk);
      done();
    },
  });
  readonly socket: Duplex = new Duplex({
    read: () => {},
    write: (chunk, _encoding, done) => {
      this.written += chunk.length;
      if (this.isOpen) return done();
      this.release = done;
    },
  });
  readonly connection: SshConnection;

  constructor(readonly isOpen: boolean, limits: Partial<Limits> = {}) {
    this.connection = new SshConnection({
      socket: this.socket,
      channel: this.channel,
      rekey: () => this.rekeys++,
      peer: "0123456789abcdef",
      isOurs: true,
      limits: { ...TEST_LIMITS, ...limits },
      clock: () => this.now,
      isMember: () => true,
      onTrain: () => {},
      onClosed: (why) => this.problems.push(why),
    });
  }
}

Deno.test("SshConnection queues no more than 256 KiB that the socket does not take", async () => {
  const rig = new Rig(false);
  let taken = 0;
  while (rig.connection.send(TRAIN)) taken += TRAIN.bytes.length;
  const inSocket = rig.socket.writableHighWaterMark + TRAIN.bytes.length;
  assert.ok(taken <= MAX_QUEUED_BYTES + inSocket);
  assert.ok(taken > MAX_QUEUED_BYTES / 2);
  assert.equal(rig.connection.send(TRAIN), false);
  rig.connection.close("the test is over");
  await rig.connection.ended;
});

Deno.test("SshConnection drops some of what waits for too long, and not what comes alone", async () => {
  const rig = new Rig(false, { stallMs: 60_000, keepAliveMs: 60_000 });
  let sent = 0;
  while (rig.connection.send({ bytes: new Uint8Array(9_996), segment: 9_996 })) sent++;
  // A tenth of a second for each frame: soon the queue is standing (RFC 8289).
  let frames = 0;
  await until(() => {
    if (rig.written / 10_000 === frames) return rig.socket.writableLength === 0;
    frames = rig.written / 10_000;
    rig.now += 100;
    rig.release();
    return false;
  }, "the queue is empty");
  assert.ok(frames < sent, `${frames} of ${sent} frames were written`);
  assert.ok(frames > sent / 4, `${frames} of ${sent} frames were written`);
  const before = rig.written;
  rig.connection.send(TRAIN);
  await until(() => rig.written > before, "the next train");
  rig.connection.close("the test is over");
  await rig.connection.ended;
});

Deno.test("SshConnection changes keys after so many bytes, and after so long", async () => {
  const rig = new Rig(true, { keepAliveMs: 10, rekeyBytes: 50_000, rekeyMs: 1_000 });
  rig.connection.send(TRAIN);
  rig.now = 10;
  await until(() => rig.rekeys === 1, "a rekey for bytes");
  rig.now = 1_009;
  rig.channel.push(encodeKeepAlive());
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(rig.rekeys, 1);
  rig.now = 1_010;
  await until(() => rig.rekeys === 2, "a rekey for time");
  rig.connection.close("the test is over");
  await rig.connection.ended;
});

Deno.test("SshConnection says once why it ended", async () => {
  const rig = new Rig(true);
  rig.connection.close("first");
  rig.connection.close("second");
  await rig.connection.ended;
  assert.deepEqual(rig.problems, ["first"]);
  assert.equal(rig.connection.send(TRAIN), false);
});

Deno.test("SshConnection ends, a little later, over a socket that is gone already", async () => {
  const rig = new Rig(true);
  rig.connection.close("first");
  const problems: string[] = [];
  const late = new SshConnection({
    socket: rig.socket,
    channel: rig.channel,
    rekey: null,
    peer: "0123456789abcdef",
    isOurs: false,
    limits: TEST_LIMITS,
    clock: () => 0,
    isMember: () => true,
    onTrain: () => {},
    onClosed: (why) => problems.push(why),
  });
  assert.deepEqual(problems, []);
  await until(() => problems.length > 0, "the end");
  await late.ended;
});
