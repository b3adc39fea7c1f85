import { strict as assert } from "node:assert";
import fc from "fast-check";
import { formatPrefix } from "../ip.ts";
import { parseMacRoutes } from "./macos_routes.ts";

const IPV4 = `Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
0/1                utun4              USc                 utun4
default            192.168.1.1        UGScg                 en0
default            link#14            UCSIg              bridge100      !
127                127.0.0.1          UCS                   lo0
127.0.0.1          127.0.0.1          UH                    lo0
128.0/1            utun4              USc                 utun4
169.254            link#6             UCS                   en0      !
172.30/16          link#15            USc                 utun4
192.168.1          link#6             UCS                   en0      !
192.168.1.1/32     link#6             UCS                   en0      !
192.168.1.7        8:0:27:1:2:3       UHLWI                 en0   1181
10.8/14            link#7             UCS                   en1      !
`;

const IPV6 = `Routing tables

Internet6:
Destination                             Gateway                         Flags               Netif Expire
default                                 fe80::%utun0                    UGcIg               utun0
default                                 fe80::1%en0                     UGcg                  en0
::1                                     ::1                             UHL                   lo0
2001:db8:1::/64                         link#6                          UC                    en0
fe80::%en0/64                           link#6                          UCI                   en0
`;

/** As before macOS 11.3, with two columns more. */
const OLD = `Internet:
Destination        Gateway            Flags        Refs      Use   Netif Expire
default            10.0.0.1           UGSc            0        0     en0
10/24              link#4             UCS             1        0     en0
`;

function read(listing: string) {
  const { default: way, onLink } = parseMacRoutes(listing, "utun4");
  return { way, onLink: onLink.map(formatPrefix) };
}

Deno.test("parseMacRoutes() finds the way out and the networks that the machine stands in", () => {
  assert.deepEqual(read(IPV4), {
    way: { gateway: "192.168.1.1", interface: "en0" },
    onLink: ["169.254.0.0/16", "192.168.1.0/24", "192.168.1.1/32", "10.8.0.0/14"],
  });
  assert.deepEqual(read(IPV6), {
    way: { gateway: "fe80::1%en0", interface: "en0" },
    onLink: ["2001:db8:1::/64", "fe80::/64"],
  });
  assert.deepEqual(read(OLD), {
    way: { gateway: "10.0.0.1", interface: "en0" },
    onLink: ["10.0.0.0/24"],
  });
});

Deno.test("parseMacRoutes() takes an interface for a way out that has no router", () => {
  const listing = IPV4.replace("192.168.1.1        UGScg                 en0", "link#9 UCS ppp0");
  assert.deepEqual(read(listing).way, { gateway: null, interface: "ppp0" });
});

Deno.test("parseMacRoutes() never throws, and finds nothing in what is no listing", () => {
  assert.deepEqual(read(""), { way: null, onLink: [] });
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.nat(IPV4.length), (noise, at) => {
    read(noise);
    read(IPV4.slice(0, at) + noise + IPV4.slice(at));
  }));
});
