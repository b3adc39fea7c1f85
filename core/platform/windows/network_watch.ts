/**
 * Tells when the network of a Windows machine changes: IP Helper calls a function of ours for each
 * change of an interface, an address or a route, and the tables say what changed.
 *
 * The function is the kernel's own SetEvent, with an event as the argument that is handed through.
 * A function of this program would be called on a thread of Windows, which then waits for the event
 * loop while CancelMibChangeNotify2 waits for that thread: closing could hang. NotifyAddrChange
 * and NotifyRouteChange, which take an event themselves, know IPv4 only. SetEvent looks at its first
 * argument alone; on 64-bit Windows the caller removes the others.
 * @module
 */
import { MeshError } from "../../errors.ts";
import { eventsBetween } from "../network_snapshot.ts";
import { NetworkState } from "../network_state.ts";
import { type EventSource, SettledWatch, type WaitResult } from "../settled_watch.ts";
import {
  EVENTS_LOST,
  type NetworkEvent,
  type NetworkWatch,
  type NetworkWatchOptions,
} from "../types_network.ts";
import { type IpHelper, ipHelper, wideString } from "./iphlpapi.ts";
import { parseNetworkTables, ROW_BYTES, tableBytes } from "./network_tables.ts";

/** Both families. */
const AF_UNSPEC = 0;
const NO_ERROR = 0, ERROR_ACCESS_DENIED = 5;
const INFINITE = 0xffffffff;
const WAIT_OBJECT_0 = 0, WAIT_TIMEOUT = 258;
/** IF_MAX_STRING_SIZE and a zero, in UTF-16. */
const ALIAS_UNITS = 257;
const REGISTRATIONS = [
  "NotifyIpInterfaceChange",
  "NotifyUnicastIpAddressChange",
  "NotifyRouteChange2",
] as const;
const WAITING = "wait for changes of the network";

/**
 * Registers for notifications and tells of changes from here on.
 *
 * @throws {MeshError} `unsupported`, `privilege-missing`, `system`.
 */
export function watchIpHelper(
  options: NetworkWatchOptions,
  library: IpHelper = ipHelper(),
): NetworkWatch {
  return new SettledWatch(new IpHelperEvents(library, options), options.onFailure);
}

/** An event of the kernel that notifications set, and whoever ends the wait. */
class IpHelperEvents implements EventSource {
  readonly #library: IpHelper;
  readonly #onChange: NetworkWatchOptions["onChange"];
  readonly #state: NetworkState;
  readonly #event: Deno.PointerValue;
  readonly #notifications: Deno.PointerValue[] = [];
  #listed: readonly NetworkEvent[];

  constructor(library: IpHelper, { ignoreInterface, onChange }: NetworkWatchOptions) {
    this.#library = library;
    this.#onChange = onChange;
    this.#state = new NetworkState(ignoreInterface);
    this.#event = openEvent(library);
    try {
      this.#register();
      // After the notifications, so that no change falls between.
      this.#listed = listNetwork(library);
    } catch (error) {
      this.release();
      throw error;
    }
    this.#state.apply(this.#listed);
  }

  async wait(timeoutMs: number): Promise<WaitResult> {
    const ms = timeoutMs < 0 ? INFINITE : timeoutMs;
    switch (await this.#library.waitAsync(this.#event, ms)) {
      case WAIT_OBJECT_0:
        return "event";
      case WAIT_TIMEOUT:
        return "timeout";
      default:
        return "failed";
    }
  }

  /** A notification says little and is often a repetition; the tables tell. */
  take(): boolean {
    return true;
  }

  report(): void {
    const now = tryListNetwork(this.#library);
    if (now === null) return this.#onChange([EVENTS_LOST]);
    const changes = this.#state.apply(eventsBetween(this.#listed, now));
    this.#listed = now;
    if (changes.length > 0) this.#onChange(changes);
  }

  wake(): void {
    this.#library.SetEvent(this.#event);
  }

  /** Notifications end first: they set the event, which is closed then. */
  release(): void {
    for (const each of this.#notifications) this.#library.CancelMibChangeNotify2(each);
    this.#library.CloseHandle(this.#event);
  }

  #register(): void {
    const kernel = this.#library.GetModuleHandleW(wideString("kernel32.dll"));
    const name = new TextEncoder().encode("SetEvent\0");
    const setEvent = kernel && this.#library.GetProcAddress(kernel, name);
    if (!setEvent) throw new MeshError("system", `Cannot ${WAITING}: SetEvent was not found`);
    for (const call of REGISTRATIONS) {
      const handle = new BigUint64Array(1);
      const room = new Uint8Array(handle.buffer);
      check(WAITING, this.#library[call](AF_UNSPEC, setEvent, this.#event, 0, room));
      this.#notifications.push(Deno.UnsafePointer.create(handle[0]!));
    }
  }
}

/** One that is over when it was waited for. */
function openEvent(library: IpHelper): Deno.PointerObject {
  const event = library.CreateEventW(null, 0, 0, null);
  if (event === null) throw new MeshError("system", `Cannot ${WAITING}: there is no event`);
  return event;
}

/** What there is; null when the system does not say. */
function tryListNetwork(library: IpHelper): NetworkEvent[] | null {
  try {
    return listNetwork(library);
  } catch (error) {
    if (error instanceof MeshError) return null;
    throw error;
  }
}

/** @throws {MeshError} `system`. */
function listNetwork(library: IpHelper): NetworkEvent[] {
  const events = parseNetworkTables({
    interfaces: readTable(library, "GetIpInterfaceTable", ROW_BYTES.interfaces),
    addresses: readTable(library, "GetUnicastIpAddressTable", ROW_BYTES.addresses),
    routes: readTable(library, "GetIpForwardTable2", ROW_BYTES.routes),
  }, (luid) => nameOf(library, luid));
  if (events) return events;
  throw new MeshError("system", "Cannot understand the system's list of interfaces");
}

/** A copy of a table; the system's is given back. */
function readTable(
  library: IpHelper,
  call: "GetIpInterfaceTable" | "GetUnicastIpAddressTable" | "GetIpForwardTable2",
  rowBytes: number,
): Uint8Array {
  const place = new BigUint64Array(1);
  check("ask for interfaces", library[call](AF_UNSPEC, new Uint8Array(place.buffer)));
  const table = Deno.UnsafePointer.create(place[0]!);
  if (table === null) throw new MeshError("system", "Cannot ask for interfaces: there is no table");
  try {
    const view = new Deno.UnsafePointerView(table);
    const header = new Uint8Array(view.getArrayBuffer(Uint32Array.BYTES_PER_ELEMENT));
    return new Uint8Array(view.getArrayBuffer(tableBytes(header, rowBytes))).slice();
  } finally {
    library.FreeMibTable(table);
  }
}

/** What users call an interface; empty for one that has just gone. */
function nameOf(library: IpHelper, luid: Uint8Array): string {
  const units = new Uint16Array(ALIAS_UNITS);
  const room = new Uint8Array(units.buffer);
  const result = library.ConvertInterfaceLuidToAlias(luid.slice(), room, BigInt(ALIAS_UNITS));
  if (result !== NO_ERROR) return "";
  const end = units.indexOf(0);
  return String.fromCharCode(...units.subarray(0, end < 0 ? ALIAS_UNITS : end));
}

/**
 * Throws unless `result` is NO_ERROR.
 *
 * @throws {MeshError} `privilege-missing` where access is denied, else `system`.
 */
function check(action: string, result: number): void {
  if (result === NO_ERROR) return;
  const denied = result === ERROR_ACCESS_DENIED;
  throw new MeshError(
    denied ? "privilege-missing" : "system",
    `Cannot ${action}: Windows error ${result}`,
    denied ? { hint: "Run the command as administrator" } : {},
  );
}
