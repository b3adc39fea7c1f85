import assert from "node:assert/strict";
import { openDfSender } from "./df_socket.ts";
import { AF_INET6, libc, SOCK_DGRAM, waitReadable } from "./libc.ts";
import { libcControl } from "./libc_control.ts";
import { TrainReceiver } from "./train_receiver.ts";
import { openUdp, setOption, SOCKADDR_IN6, writeSockaddr } from "./udp.ts";

// What needs interfaces of other sizes is in tests/e2e/df_socket_test.ts.
const mayLoad = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
// Loaded once: a library stays for the life of the process, which a test would call a leak.
if (mayLoad) {
  libc();
  libcControl();
}

const SOL_SOCKET = 1, SO_REUSEPORT = 15;
const LOOPBACK4 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1);
const LOOPBACK6 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** Registers a test that needs real sockets. */
function socketTest(name: string, run: () => void): void {
  Deno.test(name, () => {
    if (!mayLoad) return console.log(`SKIP: ${name}: needs --allow-ffi`);
    run();
  });
}

for (const [text, ip] of [["127.0.0.1", LOOPBACK4], ["[::1]", LOOPBACK6]] as const) {
  socketTest(
    `openDfSender() sends to ${text} from the node's port, or says what is too big`,
    () => {
      const [node, other] = [openUdp(0, false), openUdp(0, false)];
      const sender = openDfSender(node);
      const receiver = new TrainReceiver();
      try {
        assert.equal(sender.send(new Uint8Array(1_400).fill(7), ip, other.port), true);
        assert.ok(waitReadable(other.fds[0]!, 2_000));
        assert.equal(receiver.receive(other.fds[0]!), 1);
        assert.equal(receiver.source(0), `${text}:${node.port}`);
        assert.deepEqual(receiver.train(0)!.bytes, new Uint8Array(1_400).fill(7));
        // Loopback's MTU is 65,536 bytes.
        assert.equal(sender.send(new Uint8Array(65_530), ip, other.port), "too-big");
        assert.equal(sender.send(new Uint8Array(10), ip, 0), false);
        other.send(new Uint8Array(20), ip, node.port);
        assert.ok(waitReadable(node.fds[0]!, 2_000), "what is answered goes to the node");
      } finally {
        sender.close();
        for (const socket of [node, other]) socket.close();
      }
    },
  );
}

socketTest("openDfSender() does not let other programs share the node's port", () => {
  const node = openUdp(0, false);
  const sender = openDfSender(node);
  const { symbols } = libc();
  const stranger = symbols.socket(AF_INET6, SOCK_DGRAM, 0);
  setOption(stranger, SOL_SOCKET, SO_REUSEPORT, 1);
  const name = new Uint8Array(SOCKADDR_IN6);
  writeSockaddr(new DataView(name.buffer), 0, AF_INET6, new Uint8Array(16), node.port);
  assert.equal(symbols.bind(stranger, name, SOCKADDR_IN6), -1);
  symbols.close(stranger);
  sender.close();
  node.close();
});
