import { strict as assert } from "node:assert";
import { labTest } from "../../../tests/skip.ts";
import { openDfSender } from "./df_socket.ts";
import { openUdp, readMark, setMark } from "./udp.ts";

const MARK = 0x2174;

labTest({
  name: "openUdp() marks every socket of the port",
  run: () => {
    const node = openUdp(0, false, 2, MARK);
    try {
      assert.deepEqual(node.fds.map(readMark), [MARK, MARK]);
      // Opens a socket of its own, which needs the mark to leave beside the tunnel.
      openDfSender(node).close();
      setMark(node.fds[0]!, 0);
      assert.deepEqual(node.fds.map(readMark), [0, MARK]);
    } finally {
      node.close();
    }
    return Promise.resolve();
  },
});

Deno.test("openUdp() leaves sockets unmarked when no mark is asked for", () => {
  const node = openUdp(0, false);
  try {
    assert.deepEqual([node.mark, ...node.fds.map(readMark)], [0, 0]);
  } finally {
    node.close();
  }
});
