import assert from "node:assert/strict";
import fc from "fast-check";
import { ERRORS, MeshError } from "../errors.ts";
import { identityFromSeed } from "../identity/keys.ts";
import { signNodeRecord } from "../identity/record.ts";
import {
  EndpointText,
  IdentityText,
  MAX_ENDPOINTS,
  MAX_NODE_MESSAGE_LENGTH,
  NodeMessage,
  parseNodeMessage,
  parseServerMessage,
  PrefixText,
  type ServerMessage,
} from "./messages.ts";

const MESH_ID = "00112233445566778899aabbccddeeff";
const RECORD = signNodeRecord(identityFromSeed(new Uint8Array(32).fill(1)), {
  name: "a",
  addresses: ["172.30.0.1", "fd00::1"],
  aliases: [],
  meshId: MESH_ID,
  seq: 0,
});
const ID = "0123456789abcdef";

const ENTRY = { record: RECORD, endpoints: ["192.0.2.1:1"], online: true, bootId: "", lastSeen: 0 };
const SERVER_MESSAGES: ServerMessage[] = [
  { type: "challenge", nonce: "AAAA" },
  {
    type: "netmap",
    netmap: {
      version: 1,
      meshId: MESH_ID,
      cidr4: "172.30.0.0/16",
      prefix6: "fd00::/48",
      coordinators: [ID],
      peers: [ENTRY],
    },
  },
  { type: "delta", version: 2, upsert: [ENTRY], remove: [ID] },
  { type: "pong", id: 1, time: 1.5 },
  { type: "refused", code: "peer-unknown", message: "Cannot find node" },
  { type: "call", peer: ID, endpoints: ["[2001:db8::1]:51820"] },
  { type: "log", text: '{"type":"want","from":0}' },
];
const NODE_MESSAGES: NodeMessage[] = [
  {
    type: "hello",
    identity: RECORD.signer,
    signature: RECORD.signature,
    record: RECORD,
    endpoints: [],
    udpPort: 0,
    bootId: "b",
    version: "0",
  },
  { type: "endpoints", endpoints: ["192.0.2.1:1", "[::2]:65535"] },
  { type: "record", record: RECORD },
  { type: "ping", id: 0 },
  { type: "call", peer: ID },
];

Deno.test("parseServerMessage() and parseNodeMessage() read what the other side writes", () => {
  for (const message of SERVER_MESSAGES) {
    assert.deepEqual(parseServerMessage(JSON.stringify(message)), message);
  }
  for (const message of NODE_MESSAGES) {
    assert.deepEqual(parseNodeMessage(JSON.stringify(message)), message);
  }
});

const BAD_NODE_MESSAGES: [name: string, text: string][] = [
  ["no JSON", "{"],
  ["no object", "7"],
  ["an unknown type", '{"type":"delta"}'],
  ["an unknown key", '{"type":"ping","id":1,"more":1}'],
  ["a fraction", '{"type":"ping","id":1.5}'],
  ["a negative number", '{"type":"ping","id":-1}'],
  ["a host name as endpoint", '{"type":"endpoints","endpoints":["example.org:1"]}'],
  ["port 0", '{"type":"endpoints","endpoints":["192.0.2.1:0"]}'],
  ["an address in another spelling", '{"type":"endpoints","endpoints":["[2001:DB8::1]:1"]}'],
  [
    "too many endpoints",
    JSON.stringify({ type: "endpoints", endpoints: Array(MAX_ENDPOINTS + 1).fill("192.0.2.1:1") }),
  ],
  ["a peer id in upper case", '{"type":"call","peer":"0123456789ABCDEF"}'],
  ["too long a text", `{"type":"ping","id":1}${" ".repeat(MAX_NODE_MESSAGE_LENGTH)}`],
  ["deep nesting", "[".repeat(MAX_NODE_MESSAGE_LENGTH)],
];

for (const [name, text] of BAD_NODE_MESSAGES) {
  Deno.test(`parseNodeMessage() refuses ${name}`, () => {
    assert.throws(
      () => parseNodeMessage(text),
      (error) => error instanceof MeshError && error.code === "protocol-invalid",
    );
  });
}

Deno.test("the message parsers throw nothing but MeshError for any text and any JSON", () => {
  const quiet = (parse: (text: string) => unknown) => (text: string) => {
    try {
      parse(text);
    } catch (error) {
      assert.ok(error instanceof MeshError, String(error));
      assert.equal(error.code, "protocol-invalid");
      assert.ok(error.message.length < 500);
    }
  };
  const both = (text: string) => {
    quiet(parseServerMessage)(text);
    quiet(parseNodeMessage)(text);
  };
  fc.assert(fc.property(fc.string({ unit: "binary" }), both), { numRuns: 500 });
  fc.assert(fc.property(fc.json(), both), { numRuns: 500 });
  fc.assert(
    fc.property(fc.constantFrom(...mutable()), mutation(), (message, change) => {
      both(JSON.stringify(change(structuredClone(message))));
    }),
    { numRuns: 2000 },
  );
});

function mutable(): Record<string, unknown>[] {
  return [...SERVER_MESSAGES, ...NODE_MESSAGES];
}

/** Replaces, adds or deletes one value somewhere in a message. */
function mutation(): fc.Arbitrary<(message: Record<string, unknown>) => unknown> {
  return fc.tuple(fc.nat(), fc.nat(), fc.anything({ withBigInt: false }), fc.constantFrom(0, 1, 2))
    .map(([depth, at, value, how]) => (message) => {
      let target: Record<string, unknown> = message;
      for (let level = depth % 4; level > 0; level--) {
        const inner = Object.values(target).find((each) => typeof each === "object" && each);
        if (inner) target = inner as Record<string, unknown>;
      }
      const keys = Object.keys(target);
      const key = keys[at % Math.max(1, keys.length)] ?? "x";
      if (how === 0) target[key] = value;
      else if (how === 1) delete target[key];
      else target[`${key}x`] = value;
      return message;
    });
}

const TEXTS: [schema: { safeParse(text: string): { success: boolean } }, string, boolean][] = [
  [EndpointText, "192.0.2.1:51820", true],
  [EndpointText, "[2001:db8::1]:51820", true],
  [EndpointText, "2001:db8::1:51820", false],
  [EndpointText, "192.0.2.01:51820", false],
  [EndpointText, "192.0.2.1:051820", false],
  [PrefixText, "172.30.0.0/16", true],
  [PrefixText, "172.30.0.0", false],
  [PrefixText, "172.30.0.1/16", false],
  [IdentityText, RECORD.signer, true],
  [IdentityText, "A".repeat(43), true],
  // The same 32 bytes with other unused bits.
  [IdentityText, "A".repeat(42) + "B", false],
  [IdentityText, "A".repeat(44), false],
];

Deno.test("texts are taken in their canonical form only", () => {
  for (const [schema, text, isValid] of TEXTS) {
    assert.equal(schema.safeParse(text).success, isValid, text);
  }
});

Deno.test("every error code fits a problem's type and a refusal", () => {
  for (const code of Object.keys(ERRORS)) {
    const text = JSON.stringify({ type: "refused", code, message: "" });
    assert.equal(parseServerMessage(text).type, "refused");
  }
});
