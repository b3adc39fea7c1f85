import { strict as assert } from "node:assert";
import fc from "fast-check";
import { readNews } from "./exit_watch.ts";

const WATCHED = { filter: "tunnelmesh_exit_default", priority: 4200 };

/** One message of netlink(7). */
function message(type: number, header: number, attributes: readonly [number, Uint8Array][]) {
  const parts = attributes.map(([type, value]) => {
    const part = new Uint8Array((4 + value.length + 3) & ~3);
    const view = new DataView(part.buffer);
    view.setUint16(0, 4 + value.length, true);
    view.setUint16(2, type, true);
    part.set(value, 4);
    return part;
  });
  const body = [new Uint8Array(header), ...parts].flatMap((part) => [...part]);
  const bytes = new Uint8Array(16 + body.length);
  new DataView(bytes.buffer).setUint32(0, bytes.length, true);
  new DataView(bytes.buffer).setUint16(4, type, true);
  bytes.set(body, 16);
  return bytes;
}

function table(type: number, name: string) {
  return message(type, 4, [[1, new TextEncoder().encode(name + "\0")]]);
}

function rule(type: number, priority: number, protocol: number) {
  const value = new Uint8Array(new Uint32Array([priority]).buffer);
  return message(type, 12, [[6, value], [21, Uint8Array.of(protocol)]]);
}

const DELTABLE = 0xa02, NEWTABLE = 0xa00, DELRULE = 33, NEWRULE = 32;

Deno.test("readNews() tells of our table and our rules alone", () => {
  const bytes = [
    table(DELTABLE, WATCHED.filter),
    table(NEWTABLE, WATCHED.filter),
    table(DELTABLE, "filter"),
    rule(DELRULE, 4205, 84),
    rule(DELRULE, 4206, 84),
    rule(DELRULE, 4199, 84),
    rule(DELRULE, 4200, 2),
    rule(NEWRULE, 4200, 84),
  ].flatMap((each) => [...each]);
  const news = readNews(Uint8Array.from(bytes), WATCHED);
  assert.deepEqual(news, ["filter-gone", "filter-new", "rule-gone"]);
});

Deno.test("readNews() says nothing of broken messages, and never throws", () => {
  const whole = table(DELTABLE, WATCHED.filter);
  for (let length = 0; length < whole.length; length++) {
    assert.deepEqual(readNews(whole.subarray(0, length), WATCHED), []);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), (noise, at) => {
    readNews(noise, WATCHED);
    const damaged = whole.slice();
    damaged.set(noise.subarray(0, 4), at % (whole.length - 4));
    readNews(damaged, WATCHED);
  }));
});
