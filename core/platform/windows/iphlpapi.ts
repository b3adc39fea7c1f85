/**
 * The libraries of Windows as far as the watch over the network needs them: IP Helper for what
 * there is and what changes (`netioapi.h`), the kernel's events for waiting (`synchapi.h`).
 * @module
 */
import { errorMessage, MeshError } from "../../errors.ts";

const IPHLPAPI = {
  CancelMibChangeNotify2: { parameters: ["pointer"], result: "u32" },
  ConvertInterfaceLuidToAlias: { parameters: ["buffer", "buffer", "usize"], result: "u32" },
  FreeMibTable: { parameters: ["pointer"], result: "void" },
  GetIpForwardTable2: { parameters: ["u16", "buffer"], result: "u32" },
  GetIpInterfaceTable: { parameters: ["u16", "buffer"], result: "u32" },
  GetUnicastIpAddressTable: { parameters: ["u16", "buffer"], result: "u32" },
  NotifyIpInterfaceChange: {
    parameters: ["u16", "pointer", "pointer", "u8", "buffer"],
    result: "u32",
  },
  NotifyRouteChange2: {
    parameters: ["u16", "pointer", "pointer", "u8", "buffer"],
    result: "u32",
  },
  NotifyUnicastIpAddressChange: {
    parameters: ["u16", "pointer", "pointer", "u8", "buffer"],
    result: "u32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const KERNEL32 = {
  CloseHandle: { parameters: ["pointer"], result: "i32" },
  CreateEventW: { parameters: ["pointer", "i32", "i32", "pointer"], result: "pointer" },
  GetModuleHandleW: { parameters: ["buffer"], result: "pointer" },
  GetProcAddress: { parameters: ["pointer", "buffer"], result: "pointer" },
  SetEvent: { parameters: ["pointer"], result: "i32" },
  waitAsync: {
    name: "WaitForSingleObject",
    parameters: ["pointer", "u32"],
    result: "u32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The symbols of both libraries. */
export type IpHelper =
  & Deno.DynamicLibrary<typeof IPHLPAPI>["symbols"]
  & Deno.DynamicLibrary<typeof KERNEL32>["symbols"];

let opened: IpHelper | undefined;

/**
 * Opens the libraries once for this thread; they stay open until the thread ends.
 *
 * @throws {MeshError} `unsupported`.
 */
export function ipHelper(): IpHelper {
  if (opened) return opened;
  try {
    const kernel32 = Deno.dlopen("kernel32.dll", KERNEL32);
    const iphlpapi = Deno.dlopen("iphlpapi.dll", IPHLPAPI);
    opened = { ...kernel32.symbols, ...iphlpapi.symbols };
    return opened;
  } catch (error) {
    throw new MeshError("unsupported", `Cannot open the system libraries: ${errorMessage(error)}`);
  }
}

/** A string for functions whose names end in W: UTF-16 with a zero. */
export function wideString(text: string): Uint8Array<ArrayBuffer> {
  const units = new Uint16Array(text.length + 1);
  for (let i = 0; i < text.length; i++) units[i] = text.charCodeAt(i);
  return new Uint8Array(units.buffer);
}
