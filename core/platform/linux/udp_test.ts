import { strict as assert } from "node:assert";
import { labTest } from "../../../tests/skip.ts";
import { openDfSender } from "./df_socket.ts";
import { libc } from "./libc.ts";
import { libcControl } from "./libc_control.ts";
import { openUdp, setMark } from "./udp.ts";

const MARK = 0x2174;
const SOL_SOCKET = 1, SO_MARK = 36;

// Libraries stay open until the thread ends, which would look like a leak of the first test.
if (Deno.permissions.querySync({ name: "ffi" }).state === "granted") {
  libc();
  libcControl();
}

function markOf(fd: number): number {
  const value = new Uint32Array(1);
  const bytes = new Uint8Array(value.buffer);
  libcControl().getsockopt(fd, SOL_SOCKET, SO_MARK, bytes, new Uint32Array([4]));
  return value[0]!;
}

labTest({
  name: "openUdp() marks every socket of the port",
  run: () => {
    const node = openUdp(0, false, 2, MARK);
    try {
      assert.deepEqual([node.mark, ...node.fds.map(markOf)], [MARK, MARK, MARK]);
      openDfSender(node).close();
      setMark(node.fds[0]!, 0);
      assert.deepEqual(node.fds.map(markOf), [0, MARK]);
    } finally {
      node.close();
    }
    return Promise.resolve();
  },
});

Deno.test("openUdp() leaves sockets unmarked when no mark is asked for", () => {
  const node = openUdp(0, false);
  try {
    assert.deepEqual([node.mark, ...node.fds.map(markOf)], [0, 0]);
  } finally {
    node.close();
  }
});
