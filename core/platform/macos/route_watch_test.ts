import assert from "node:assert/strict";
import type { NetworkChange } from "../types_network.ts";
import { ifAddress, ifInfo, in4, mask4, NO_MASK, route } from "./_route_messages.ts";
import { ERRNO, type LibSystem } from "./libsystem.ts";
import { RTM } from "./route_parse.ts";
import { watchRouteSocket } from "./route_watch.ts";

const SOCKET = 10, PIPE = [11, 12] as const;
const LOOPBACK = ifInfo(1, 0x8049, 16_384, "lo0");
const EN0 = [
  ifInfo(4, 0x8863, 1500, "en0"),
  ifAddress(RTM.NEWADDR, 4, in4(192, 0, 2, 5), mask4(255, 255, 255)),
];
const SECOND = ifAddress(RTM.NEWADDR, 4, in4(192, 0, 2, 6), mask4(255, 255, 255));
const DEFAULT = route({ addresses: [in4(0, 0, 0, 0), in4(192, 0, 2, 1), NO_MASK] });
const MISS = route({ type: 7, addresses: [in4(192, 0, 2, 9), in4(0, 0, 0, 0), NO_MASK] });

/** A Mac's library as far as a routing socket needs it. */
class FakeMac {
  /** What sysctl lists. */
  list: Uint8Array[] = [LOOPBACK, ...EN0];
  /** Messages that can be read, or the number of an error. */
  readonly queue: (Uint8Array | number)[] = [];
  /** Messages that arrive while a burst settles, one for each wait. */
  readonly later: Uint8Array[] = [];
  readonly open = new Set<number>();
  /** Calls that fail from here on, with their error number. */
  readonly failing = new Map<string, number>();
  /** Room that sysctl claims to need less than it does, so often. */
  growing = 0;
  polls = 0;
  #errno = 0;
  #isWoken = false;
  #pending: (() => void) | null = null;

  get library(): LibSystem {
    return {
      errno: () => this.#errno,
      symbols: {
        socket: (domain, type, protocol) => {
          assert.deepEqual([domain, type, protocol], [17, 3, 0]);
          return this.#result("socket", () => this.#opened(SOCKET));
        },
        pipe: (fds) =>
          this.#result("pipe", () => {
            PIPE.forEach((fd, i) => i32(fds!)[i] = this.#opened(fd));
            return 0;
          }),
        close: (fd) => this.open.delete(fd) ? 0 : -1,
        fcntl: () => 0,
        setsockopt: () => 0,
        sysctl: (name, words, room, length) =>
          this.#result("sysctl", () => this.#list(name!, words, room, length!)),
        recv: (fd, room, size, flags) => this.#recv(fd, room!, Number(size), flags),
        write: (fd) => {
          assert.equal(fd, PIPE[1]);
          this.#isWoken = true;
          this.#turn();
          return 1;
        },
        pollAsync: (fds, count, timeoutMs) => this.#poll(fds!, count, timeoutMs),
      },
    };
  }

  /** Messages come in and wake the wait. */
  arrive(...messages: (Uint8Array | number)[]): void {
    this.queue.push(...messages);
    this.#turn();
  }

  fail(call: string, errno: number): void {
    this.failing.set(call, errno);
    this.#turn();
  }

  #turn(): void {
    const pending = this.#pending;
    this.#pending = null;
    pending?.();
  }

  #opened(fd: number): number {
    this.open.add(fd);
    return fd;
  }

  #result(call: string, run: () => number): number {
    const errno = this.failing.get(call);
    if (errno === undefined) return run();
    this.#errno = errno;
    return -1;
  }

  #list(
    name: AllowSharedBufferSource,
    words: number,
    room: AllowSharedBufferSource | null,
    length: AllowSharedBufferSource,
  ) {
    assert.deepEqual([...i32(name)], [4, 17, 0, 0, 3, 0]);
    assert.equal(words, 6);
    const bytes = Uint8Array.from(this.list.flatMap((each) => [...each]));
    const wanted = new BigUint64Array((length as Uint8Array<ArrayBuffer>).buffer);
    if (room && this.growing > 0) {
      this.growing--;
      this.#errno = ERRNO.ENOMEM;
      return -1;
    }
    if (room) (room as Uint8Array).set(bytes);
    wanted[0] = BigInt(bytes.length);
    return 0;
  }

  #recv(fd: number, room: AllowSharedBufferSource, size: number, flags: number): number {
    assert.deepEqual([fd, size, flags], [SOCKET, 65_536, 0x80]);
    const next = this.queue.shift() ?? ERRNO.EAGAIN;
    if (typeof next === "number") {
      this.#errno = next;
      return -1;
    }
    (room as Uint8Array).set(next);
    return next.length;
  }

  async #poll(fds: AllowSharedBufferSource, count: number, timeoutMs: number): Promise<number> {
    assert.equal(count, 2);
    this.polls++;
    const words = i32(fds);
    assert.deepEqual([words[0], words[2]], [SOCKET, PIPE[0]]);
    if (this.later.length > 0 && timeoutMs >= 0) this.queue.push(this.later.shift()!);
    const isReady = () => this.queue.length > 0 || this.#isWoken || this.failing.has("poll");
    while (!isReady() && timeoutMs < 0) {
      await new Promise<void>((resolve) => this.#pending = resolve);
    }
    await Promise.resolve();
    if (this.failing.has("poll")) return -1;
    words[1] = 1 | (this.queue.length > 0 ? 1 << 16 : 0);
    words[3] = 1 | (this.#isWoken ? 1 << 16 : 0);
    return Number(this.queue.length > 0) + Number(this.#isWoken);
  }
}

function i32(bytes: AllowSharedBufferSource): Int32Array {
  return new Int32Array((bytes as Uint8Array).buffer);
}

/** What a watch told, one list of texts for each call, and how it failed. */
function watch(mac: FakeMac) {
  const told: string[][] = [];
  const failures: string[] = [];
  const opened = watchRouteSocket({
    ignoreInterface: "utun7",
    onChange: (changes) => told.push(changes.map(textOf)),
    onFailure: (error) => failures.push(error.message),
  }, mac.library);
  return { told, failures, close: () => opened.close() };
}

function textOf({ kind, action, interface: name, detail }: NetworkChange): string {
  return [kind, action, name, detail].join(" ");
}

/** Lets what is pending in the fake have its turn. */
async function turns(): Promise<void> {
  for (let i = 0; i < 200; i++) await Promise.resolve();
}

Deno.test("watchRouteSocket() tells a burst once, and gives everything back", async () => {
  const mac = new FakeMac();
  const { told, failures, close } = watch(mac);
  await turns();
  assert.deepEqual(told, [], "what was there before is no change");
  mac.list.push(SECOND);
  mac.later.push(DEFAULT, DEFAULT);
  mac.arrive(SECOND);
  await turns();
  assert.deepEqual(told, [[
    "address new en0 192.0.2.6/24",
    "route new en0 default (IPv4) via 192.0.2.1",
  ]]);
  await Promise.all([close(), close()]);
  assert.deepEqual([...mac.open], []);
  assert.deepEqual(failures, []);
});

Deno.test("watchRouteSocket() is silent about noise, repetitions and the mesh's interface", async () => {
  const mac = new FakeMac();
  const { told, close } = watch(mac);
  mac.arrive(MISS);
  await turns();
  const polls = mac.polls;
  mac.arrive(MISS, MISS);
  await turns();
  assert.equal(mac.polls, polls + 1, "noise starts no burst");
  mac.arrive(...EN0);
  await turns();
  const address = ifAddress(RTM.NEWADDR, 9, in4(172, 30, 0, 5), mask4(255, 255));
  const mesh = [ifInfo(9, 0x8051, 1280, "utun7"), address];
  mac.list.push(...mesh);
  mac.arrive(address, ifInfo(9, 0x8051, 1280));
  await turns();
  mac.list.splice(-2);
  mac.arrive(ifAddress(RTM.DELADDR, 9, in4(172, 30, 0, 5), mask4(255, 255)));
  await turns();
  assert.deepEqual(told, []);
  await close();
});

Deno.test("watchRouteSocket() finds by the list what no message said", async () => {
  const mac = new FakeMac();
  const { told, close } = watch(mac);
  mac.list = [LOOPBACK, ifInfo(4, 0x8823, 1500, "en0")];
  mac.arrive(ifInfo(4, 0x8823, 1500));
  await turns();
  assert.deepEqual(told, [["link del en0 down", "address del en0 192.0.2.5/24"]]);
  await close();
});

Deno.test("watchRouteSocket() says so when events were lost, and goes on", async () => {
  const mac = new FakeMac();
  const { told, close } = watch(mac);
  mac.arrive(ERRNO.ENOBUFS);
  await turns();
  mac.fail("sysctl", 5);
  mac.arrive(DEFAULT);
  await turns();
  mac.failing.clear();
  mac.list.push(SECOND);
  mac.arrive(SECOND);
  await turns();
  assert.deepEqual(told, [
    ["link new  events were lost"],
    ["route new en0 default (IPv4) via 192.0.2.1", "link new  events were lost"],
    ["address new en0 192.0.2.6/24"],
  ]);
  await close();
});

Deno.test("watchRouteSocket() asks again while the list grows, but not for ever", async () => {
  const mac = new FakeMac();
  mac.growing = 2;
  await watch(mac).close();
  mac.growing = 3;
  assert.throws(() => watch(mac), { name: "MeshError", message: /^Cannot ask for interfaces/ });
  assert.deepEqual([...mac.open], []);
});

const REFUSALS: [call: string, errno: number, message: RegExp, code: string][] = [
  ["socket", 1, /^Cannot open a routing socket: EPERM$/, "privilege-missing"],
  ["sysctl", 5, /^Cannot ask for interfaces: errno 5$/, "system"],
  ["pipe", 24, /^Cannot open a pipe: errno 24$/, "system"],
];

for (const [call, errno, message, code] of REFUSALS) {
  Deno.test(`watchRouteSocket() leaves nothing open when ${call} fails`, () => {
    const mac = new FakeMac();
    mac.failing.set(call, errno);
    assert.throws(() => watch(mac), { name: "MeshError", message, code });
    assert.deepEqual([...mac.open], []);
  });
}

Deno.test("watchRouteSocket() refuses a list of another version", () => {
  const mac = new FakeMac();
  mac.list = [route({ version: 4, addresses: [] })];
  assert.throws(() => watch(mac), { message: /^Cannot understand the system's list/ });
  assert.deepEqual([...mac.open], []);
});

Deno.test("watchRouteSocket() reports its end when waiting fails, and can be closed after", async () => {
  const mac = new FakeMac();
  const { told, failures, close } = watch(mac);
  mac.fail("poll", 9);
  await turns();
  assert.deepEqual(failures, ["Cannot wait for changes of the network"]);
  assert.deepEqual([...mac.open], []);
  const polls = mac.polls;
  await close();
  assert.deepEqual([told, mac.polls], [[], polls]);
});

Deno.test("watchRouteSocket() tells of a network that never rests", async () => {
  const mac = new FakeMac();
  const { told, close } = watch(mac);
  for (let i = 0; i < 100; i++) mac.later.push(DEFAULT);
  mac.arrive(DEFAULT);
  for (let i = 0; i < 10; i++) await turns();
  assert.equal(told.length, 1);
  assert.ok(mac.later.length < 100);
  await close();
});

const POSIX = {
  close: { parameters: ["i32"], result: "i32" },
  pipe: { parameters: ["buffer"], result: "i32" },
  pollAsync: {
    name: "poll",
    parameters: ["buffer", "u32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
const isLinux = Deno.build.os === "linux" &&
  Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
const posix = isLinux ? Deno.dlopen("libc.so.6", POSIX).symbols : null;

Deno.test("watchRouteSocket() waits with poll(2) and a pipe as POSIX has them", async () => {
  if (!posix) return console.log("SKIP: watchRouteSocket() with poll(2): needs Linux, --allow-ffi");
  const AF_UNIX = 1, SOCK_DGRAM = 2, LINUX_MSG_DONTWAIT = 0x40;
  const pair = new Int32Array(2);
  posix.socketpair(AF_UNIX, SOCK_DGRAM, 0, new Uint8Array(pair.buffer));
  const mac = new FakeMac();
  const { errno, symbols } = mac.library;
  const library: LibSystem = {
    errno,
    symbols: {
      ...symbols,
      ...posix,
      socket: () => pair[0]!,
      recv: (fd, room, size) => posix.recv(fd, room, size, LINUX_MSG_DONTWAIT),
    },
  };
  const told = Promise.withResolvers<string[]>();
  const watch = watchRouteSocket({
    ignoreInterface: "utun7",
    onChange: (changes) => told.resolve(changes.map(textOf)),
    onFailure: told.reject,
  }, library);
  for (const message of [MISS, DEFAULT]) {
    posix.write(pair[1]!, message as Uint8Array<ArrayBuffer>, BigInt(message.length));
  }
  assert.deepEqual(await told.promise, ["route new en0 default (IPv4) via 192.0.2.1"]);
  await watch.close();
  assert.equal(posix.write(pair[1]!, new Uint8Array(1), 1n), -1, "the other end is closed");
  posix.close(pair[1]!);
});
