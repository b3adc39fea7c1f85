/**
 * Which of the system's events are changes of this machine's network? It repeats itself: addresses
 * when their lifetimes are refreshed, routes when a lease is renewed, interfaces for statistics.
 * @module
 */
import { contextOf } from "./linux/mesh_interfaces.ts";
import type {
  AddressEvent,
  LinkEvent,
  NetworkChange,
  NetworkEvent,
  RouteEvent,
} from "./types_network.ts";

/** Routes remembered; a machine with more of them is a router, whose repetitions count. */
const MAX_ROUTES = 1_024;

/** What is known of the network; feed it every event in order. */
export class NetworkState {
  readonly #ignoredInterface: string;
  /** Of other contexts: theirs are no changes of the network that this mesh is carried by. */
  readonly #meshInterfaces = new Set<string>();
  readonly #linksByIndex = new Map<number, LinkEvent>();
  /** Interface index and address. */
  readonly #addresses = new Set<string>();
  readonly #routes = new Set<string>();

  /** @param ignoredInterface The mesh's own, whose changes are this program's doing. */
  constructor(ignoredInterface: string) {
    this.#ignoredInterface = ignoredInterface;
  }

  /** Takes events; returns what they changed, each change once. */
  apply(events: readonly NetworkEvent[]): NetworkChange[] {
    const changesByText = new Map<string, NetworkChange>();
    for (const event of events) {
      const change = this.#applyOne(event);
      if (change === null || this.#isIgnored(change.interface)) continue;
      // The last of equal ones stays, so that the order tells how it ended.
      const text = JSON.stringify(change);
      changesByText.delete(text);
      changesByText.set(text, change);
    }
    return [...changesByText.values()];
  }

  /** Forgets everything, before the whole state is told anew. */
  clear(): void {
    this.#linksByIndex.clear();
    this.#addresses.clear();
    this.#routes.clear();
  }

  #isIgnored(name: string | null): boolean {
    return name === this.#ignoredInterface || (name !== null && this.#meshInterfaces.has(name));
  }

  #applyOne(event: NetworkEvent): NetworkChange | null {
    switch (event.type) {
      case "link":
        return this.#link(event);
      case "address":
        return this.#address(event);
      case "route":
        return this.#route(event);
    }
  }

  #link(event: LinkEvent): NetworkChange | null {
    const { action, index, name, alias, isUp, mtu } = event;
    if (contextOf(alias) !== null) this.#meshInterfaces.add(name);
    else this.#meshInterfaces.delete(name);
    const before = this.#linksByIndex.get(index);
    if (action === "new") this.#linksByIndex.set(index, event);
    else this.#linksByIndex.delete(index);
    const change = { kind: "link", interface: name } as const;
    const wasUp = before?.isUp ?? false;
    if (action === "del") return wasUp ? { ...change, action, detail: "removed" } : null;
    if (isUp && !wasUp) return { ...change, action: "new", detail: "up" };
    if (!isUp && wasUp) return { ...change, action: "del", detail: "down" };
    if (isUp && before?.mtu !== mtu) return { ...change, action: "new", detail: `MTU ${mtu}` };
    return null;
  }

  #address({ action, index, address, isUsable }: AddressEvent): NetworkChange | null {
    const key = `${index} ${address}`;
    // One that fails its check later comes as new again, and can no longer be used.
    const isThere = action === "new" && isUsable;
    if (this.#addresses.has(key) === isThere) return null;
    if (isThere) this.#addresses.add(key);
    else this.#addresses.delete(key);
    const name = this.#nameOf(index);
    return { kind: "address", action: isThere ? "new" : "del", interface: name, detail: address };
  }

  #route(event: RouteEvent): NetworkChange | null {
    const { action, index, destination, gateway, table, metric } = event;
    const key = [index, destination, gateway, table, metric].join(" ");
    if (action === "new" && this.#routes.has(key)) return null;
    if (this.#routes.size >= MAX_ROUTES) this.#routes.clear();
    // Those from before this program are not known, so the end of any route counts.
    if (action === "new") this.#routes.add(key);
    else this.#routes.delete(key);
    const detail = gateway === null ? destination : `${destination} via ${gateway}`;
    return { kind: "route", action, interface: this.#nameOf(index), detail };
  }

  #nameOf(index: number | null): string | null {
    return index === null ? null : this.#linksByIndex.get(index)?.name ?? null;
  }
}
