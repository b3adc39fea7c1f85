import assert from "node:assert/strict";
import type { NetworkChange } from "../types_network.ts";
import { tables } from "./_network_tables.ts";
import { type IpHelper, wideString } from "./iphlpapi.ts";
import { watchIpHelper } from "./network_watch.ts";

const mayPoint = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
const SET_EVENT = 0x7ff8_0000n, KERNEL = 0x7ff0_0000n;
const ETHERNET = {
  interfaces: [{ index: 1 }, { index: 7 }],
  addresses: [{ ip: "192.0.2.5" }],
  routes: [{ ip: "0.0.0.0", bits: 0, via: "192.0.2.1" }],
};
const MESH_ADDRESS = { ip: "172.30.0.5", bits: 16, index: 9 };
const TIMEOUT = 258, FAILED = 0xffffffff, INFINITE = 0xffffffff;

type Rows = Parameters<typeof tables>[0];

/** The libraries of Windows as far as a watch needs them. */
class FakeWindows {
  rows: Rows = ETHERNET;
  /** Notifications that come while a burst settles, one for each wait. */
  later = 0;
  /** Codes of calls that fail from here on. */
  readonly failing = new Map<string, number>();
  /** What was opened and not given back: events, notifications, tables. */
  readonly open = new Map<bigint, string>();
  waits = 0;
  #isSet = false;
  readonly #tables = new Map<bigint, Uint8Array>();
  #lastHandle = 0x100n;
  #changed: bigint | null = null;
  #pending: (() => void) | null = null;

  get library(): IpHelper {
    const notify = (name: string): IpHelper["NotifyRouteChange2"] => {
      return (family, callback, context, initial, place) => {
        assert.deepEqual([family, initial, valueOf(callback)], [0, 0, SET_EVENT]);
        assert.equal(this.open.get(valueOf(context)), "event");
        this.#changed = valueOf(context);
        return this.#result(name, () => put(place!, this.#handle(name)));
      };
    };
    const list = (name: string, which: keyof ReturnType<typeof tables>) => {
      return (family: number, place: AllowSharedBufferSource | null) => {
        assert.equal(family, 0);
        return this.#result(name, () => put(place!, this.#table(tables(this.rows)[which])));
      };
    };
    return {
      GetModuleHandleW: (name) => {
        assert.deepEqual(name, wideString("kernel32.dll"));
        return Deno.UnsafePointer.create(KERNEL);
      },
      GetProcAddress: (module, name) => {
        assert.equal(valueOf(module), KERNEL);
        assert.equal(new TextDecoder().decode(name as Uint8Array), "SetEvent\0");
        return this.failing.has("GetProcAddress") ? null : Deno.UnsafePointer.create(SET_EVENT);
      },
      CreateEventW: (_security, isManualReset, isSet) => {
        assert.deepEqual([isManualReset, isSet], [0, 0]);
        if (this.failing.has("CreateEventW")) return null;
        return Deno.UnsafePointer.create(this.#handle("event"));
      },
      CloseHandle: (handle) => this.#close(handle, "event"),
      CancelMibChangeNotify2: (handle) => this.#close(handle, "Notify"),
      FreeMibTable: (pointer) => {
        this.#close(pointer, "table");
      },
      SetEvent: (handle) => this.#setEvent(valueOf(handle)),
      ConvertInterfaceLuidToAlias: (luid, place, units) => {
        assert.equal(units, 257n);
        const index = (luid as Uint8Array)[0]!;
        (place as Uint8Array).set(wideString(index === 9 ? "mesh0" : `Ethernet ${index}`));
        return index === 1 ? 87 : 0;
      },
      NotifyIpInterfaceChange: notify("NotifyIpInterfaceChange"),
      NotifyUnicastIpAddressChange: notify("NotifyUnicastIpAddressChange"),
      NotifyRouteChange2: notify("NotifyRouteChange2"),
      GetIpInterfaceTable: list("GetIpInterfaceTable", "interfaces"),
      GetUnicastIpAddressTable: list("GetUnicastIpAddressTable", "addresses"),
      GetIpForwardTable2: list("GetIpForwardTable2", "routes"),
      waitAsync: (handle, ms) => this.#wait(handle, ms),
    };
  }

  /** Windows calls the function that was registered. */
  notify(): void {
    this.#setEvent(this.#changed!);
  }

  fail(call: string, code: number): void {
    this.failing.set(call, code);
    this.#turn();
  }

  #setEvent(handle: bigint): number {
    assert.equal(this.open.get(handle), "event");
    this.#isSet = true;
    this.#turn();
    return 1;
  }

  #turn(): void {
    const pending = this.#pending;
    this.#pending = null;
    pending?.();
  }

  #result(call: string, run: () => void): number {
    const code = this.failing.get(call);
    if (code === undefined) run();
    return code ?? 0;
  }

  #handle(what: string): bigint {
    this.#lastHandle += 4n;
    this.open.set(this.#lastHandle, what);
    return this.#lastHandle;
  }

  #table(bytes: Uint8Array<ArrayBuffer>): bigint {
    const address = valueOf(Deno.UnsafePointer.of(bytes));
    this.#tables.set(address, bytes);
    this.open.set(address, "table");
    return address;
  }

  #close(pointer: Deno.PointerValue, what: string): number {
    const address = valueOf(pointer);
    assert.ok(this.open.get(address)?.startsWith(what), `${what} is open`);
    const isNotified = [...this.open.values()].some((each) => each.startsWith("Notify"));
    assert.ok(what !== "event" || !isNotified, "notifications end before their event");
    this.open.delete(address);
    this.#tables.get(address)?.fill(0xff);
    this.#tables.delete(address);
    return 0;
  }

  async #wait(handle: Deno.PointerValue, ms: number): Promise<number> {
    assert.equal(this.open.get(valueOf(handle)), "event");
    this.waits++;
    if (ms !== INFINITE && this.later > 0) {
      this.later--;
      this.#isSet = true;
    }
    const isReady = () => this.#isSet || this.failing.has("wait");
    while (!isReady() && ms === INFINITE) {
      await new Promise<void>((resolve) => this.#pending = resolve);
    }
    await Promise.resolve();
    if (this.failing.has("wait")) return FAILED;
    const wasSet = this.#isSet;
    this.#isSet = false;
    return wasSet ? 0 : TIMEOUT;
  }
}

function valueOf(pointer: Deno.PointerValue): bigint {
  return BigInt(Deno.UnsafePointer.value(pointer));
}

/** Writes a handle or address where a call is to put it. */
function put(place: AllowSharedBufferSource, value: bigint): void {
  new BigUint64Array((place as Uint8Array<ArrayBuffer>).buffer)[0] = value;
}

/** What a watch told, one list of texts for each call, and how it failed. */
function watch(windows: FakeWindows) {
  const told: string[][] = [];
  const failures: string[] = [];
  const opened = watchIpHelper({
    ignoreInterface: "mesh0",
    onChange: (changes) => told.push(changes.map(textOf)),
    onFailure: (error) => failures.push(error.message),
  }, windows.library);
  return { told, failures, close: () => opened.close() };
}

function textOf({ kind, action, interface: name, detail }: NetworkChange): string {
  return [kind, action, name, detail].join(" ");
}

/** Lets what is pending in the fake have its turn. */
async function turns(): Promise<void> {
  for (let i = 0; i < 200; i++) await Promise.resolve();
}

/** Registers a test whose fake hands out pointers. */
function pointerTest(name: string, run: () => void | Promise<void>): void {
  Deno.test(name, async () => {
    if (!mayPoint) return console.log(`SKIP: ${name}: needs --allow-ffi`);
    await run();
  });
}

pointerTest("watchIpHelper() tells a burst once, and gives everything back", async () => {
  const windows = new FakeWindows();
  const { told, failures, close } = watch(windows);
  await turns();
  assert.deepEqual([...windows.open.values()].sort(), [
    "NotifyIpInterfaceChange",
    "NotifyRouteChange2",
    "NotifyUnicastIpAddressChange",
    "event",
  ]);
  windows.later = 3;
  windows.rows = {
    ...ETHERNET,
    addresses: [{ ip: "198.51.100.7" }],
    routes: [{ ip: "0.0.0.0", bits: 0, via: "198.51.100.1" }],
  };
  windows.notify();
  await turns();
  assert.equal(windows.later, 0);
  windows.rows = { ...windows.rows, routes: ETHERNET.routes };
  windows.notify();
  await turns();
  assert.deepEqual(told, [[
    "address del Ethernet 7 192.0.2.5/24",
    "route del Ethernet 7 default (IPv4) via 192.0.2.1",
    "address new Ethernet 7 198.51.100.7/24",
    "route new Ethernet 7 default (IPv4) via 198.51.100.1",
  ], [
    "route del Ethernet 7 default (IPv4) via 198.51.100.1",
    "route new Ethernet 7 default (IPv4) via 192.0.2.1",
  ]]);
  await Promise.all([close(), close()]);
  assert.deepEqual([...windows.open.values(), ...failures], []);
});

pointerTest("watchIpHelper() is silent about repetitions and the mesh's interface", async () => {
  const windows = new FakeWindows();
  const { told, close } = watch(windows);
  windows.notify();
  await turns();
  windows.rows = {
    interfaces: [...ETHERNET.interfaces, { index: 9, mtu: 1280 }],
    addresses: [...ETHERNET.addresses, MESH_ADDRESS],
    routes: [{ ip: "172.30.0.0", bits: 16, via: "0.0.0.0", index: 9 }, ...ETHERNET.routes],
  };
  windows.notify();
  await turns();
  windows.rows = ETHERNET;
  windows.notify();
  await turns();
  assert.deepEqual(told, []);
  await close();
});

pointerTest("watchIpHelper() tells of a carrier that went", async () => {
  const windows = new FakeWindows();
  const { told, close } = watch(windows);
  windows.rows = { ...ETHERNET, interfaces: [{ index: 1 }, { index: 7, isConnected: false }] };
  windows.notify();
  await turns();
  assert.deepEqual(told, [["link del Ethernet 7 down"]]);
  await close();
});

pointerTest("watchIpHelper() says so when the tables cannot be read, and goes on", async () => {
  const windows = new FakeWindows();
  const { told, close } = watch(windows);
  windows.failing.set("GetIpForwardTable2", 1450);
  windows.notify();
  await turns();
  windows.failing.clear();
  windows.rows = { ...ETHERNET, routes: [] };
  windows.notify();
  await turns();
  assert.deepEqual(told, [
    ["link new  events were lost"],
    ["route del Ethernet 7 default (IPv4) via 192.0.2.1"],
  ]);
  await close();
});

const REFUSALS: [call: string, code: number, message: RegExp, error: string][] = [
  ["CreateEventW", 0, /^Cannot wait for changes of the network: there is no event$/, "system"],
  ["GetProcAddress", 0, /^Cannot wait for .*: SetEvent was not found$/, "system"],
  ["NotifyIpInterfaceChange", 5, /^Cannot wait for .*: Windows error 5$/, "privilege-missing"],
  ["NotifyRouteChange2", 8, /^Cannot wait for .*: Windows error 8$/, "system"],
  ["GetIpInterfaceTable", 1450, /^Cannot ask for interfaces: Windows error 1450$/, "system"],
];

for (const [call, code, message, error] of REFUSALS) {
  pointerTest(`watchIpHelper() leaves nothing open when ${call} fails`, () => {
    const windows = new FakeWindows();
    windows.failing.set(call, code);
    assert.throws(() => watch(windows), { name: "MeshError", message, code: error });
    assert.deepEqual([...windows.open.values()], []);
  });
}

pointerTest(
  "watchIpHelper() reports its end when waiting fails, and can be closed after",
  async () => {
    const windows = new FakeWindows();
    const { told, failures, close } = watch(windows);
    windows.fail("wait", 6);
    await turns();
    assert.deepEqual(failures, ["Cannot wait for changes of the network"]);
    assert.deepEqual([...windows.open.values()], []);
    const waits = windows.waits;
    await close();
    assert.deepEqual([told, windows.waits], [[], waits]);
  },
);

Deno.test("wideString() writes UTF-16 with a zero at the end", () => {
  assert.deepEqual([...wideString("aé")], [0x61, 0, 0xe9, 0, 0, 0]);
  assert.deepEqual([...wideString("😀")], [0x3d, 0xd8, 0x00, 0xde, 0, 0]);
});
