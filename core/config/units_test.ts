/**
 * Do durations, addresses and coordinator URLs mean what people write?
 * @module
 */
import assert from "node:assert/strict";
import { parseCoordinatorUrl, parseDuration, parseHostPort, parseListen } from "./units.ts";

const DURATIONS: [text: string, ms: number | null][] = [
  ["10s", 10_000],
  ["1m30s", 90_000],
  ["500ms", 500],
  ["1.5h", 5_400_000],
  ["7d", 604_800_000],
  ["10", null],
  ["", null],
  ["s", null],
  ["10 s", null],
  ["-1s", null],
  ["1s!", null],
  ["999999999999999d", null],
];

for (const [text, ms] of DURATIONS) {
  Deno.test(`parseDuration() reads "${text}" as ${ms}`, () => {
    assert.equal(parseDuration(text), ms);
  });
}

const LISTENS: [text: string, host: string | null, port: number | null][] = [
  [":8443", null, 8443],
  ["8443", null, 8443],
  ["*:8443", null, 8443],
  ["192.0.2.1:8443", "192.0.2.1", 8443],
  ["[::]:8443", "::", 8443],
  ["[2001:DB8::1]:1", "2001:db8::1", 1],
  ["::1:8443", null, null],
  [":0", null, null],
  [":65536", null, null],
  ["[]:8443", null, null],
  ["[192.0.2.1]:8443", null, null],
  ["name:8443", null, null],
  ["300.0.2.1:8443", null, null],
];

for (const [text, host, port] of LISTENS) {
  Deno.test(`parseListen() of "${text}"`, () => {
    assert.deepEqual(parseListen(text), port === null ? null : { host, port });
  });
}

const HOST_PORTS: [text: string, expected: { host: string; port: number } | null][] = [
  ["vpn.example.com:51820", { host: "vpn.example.com", port: 51820 }],
  ["VPN:1", { host: "vpn", port: 1 }],
  ["[::1]:51820", { host: "::1", port: 51820 }],
  ["::1:51820", null],
  ["vpn.example.com", null],
  ["-bad:1", null],
  ["192.0.2.999:1", null],
];

for (const [text, expected] of HOST_PORTS) {
  Deno.test(`parseHostPort() of "${text}"`, () => assert.deepEqual(parseHostPort(text), expected));
}

const URLS: [text: string, url: string | RegExp][] = [
  ["https://a:8443", "https://a:8443"],
  ["https://A.Example.com:443/", "https://a.example.com:443"],
  ["a:9000", "https://a:9000"],
  ["a", "https://a:8443"],
  ["192.0.2.7", "https://192.0.2.7:8443"],
  ["2001:db8::7", "https://[2001:db8::7]:8443"],
  ["[2001:db8::7]:1", "https://[2001:db8::7]:1"],
  ["https://[2001:DB8:0::7]", "https://[2001:db8::7]:8443"],
  ["http://a:8443", /plain http/],
  ["HTTP://a", /plain http/],
  ["wss://a", /wss/],
  ["https://user:secret@a", /credentials/],
  ["https://a/path", /path/],
  ["https://a?x=1", /path/],
  ["", /HOST/],
  ["https://", /HOST/],
  ["a b", /HOST/],
  ["a:99999", /HOST/],
];

for (const [text, expected] of URLS) {
  Deno.test(`parseCoordinatorUrl() of "${text}"`, () => {
    const url = parseCoordinatorUrl(text);
    if (typeof expected === "string") assert.equal(url, expected);
    else assert.match(typeof url === "string" ? url : url.refusal, expected);
  });
}
