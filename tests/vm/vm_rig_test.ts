/**
 * The virtual machine itself: its kernel's WireGuard and a stock wireguard-go must talk before ours
 * may be blamed.
 * @module
 */
import { strict as assert } from "node:assert";
import { Lan } from "../e2e/lab/topology.ts";
import { mustPing } from "../e2e/lab/traffic.ts";
import { generateKeyPair, WireGuardGo } from "../interop/wireguard.ts";
import { labTest } from "../skip.ts";
import { VirtualMachine, VM_NEEDS } from "./vm.ts";

labTest({
  name: "VirtualMachine: the kernel's WireGuard and wireguard-go carry traffic both ways",
  needs: { ...VM_NEEDS, tools: [...VM_NEEDS.tools!, "wireguard-go"] },
  run: async () => {
    await using lan = await Lan.create(["a"]);
    const a = lan.host("a");
    await using vm = await VirtualMachine.boot(lan);
    await mustPing(a.namespace, vm.ip4);
    const [keysA, keysVm] = [generateKeyPair(), generateKeyPair()];
    await using wireguardA = await WireGuardGo.start(a.namespace, {
      privateKey: keysA.privateKey,
      listenPort: 51820,
      addresses: ["10.55.0.1/32", "fd55::1/128"],
      peers: [{
        publicKey: keysVm.publicKey,
        allowedIps: ["10.55.0.2/32", "fd55::2/128"],
        endpoint: `${vm.ip4}:51821`,
      }],
    });
    await vm.startWireGuard({
      privateKey: keysVm.privateKey,
      listenPort: 51821,
      addresses: ["10.55.0.2/32", "fd55::2/128"],
      peers: [{ publicKey: keysA.publicKey, allowedIps: ["10.55.0.1/32", "fd55::1/128"] }],
    });
    await mustPing(a.namespace, "10.55.0.2", { timeoutMs: 5_000 });
    await vm.must("ping -c 3 10.55.0.1");
    await mustPing(a.namespace, "fd55::2", { timeoutMs: 5_000 });
    assert.notEqual((await vm.peer()).lastHandshakeAt, null);
    assert.equal((await wireguardA.peer()).endpoint, `${vm.ip4}:51821`);
    assert.ok((await vm.peer()).bytesReceived > 500);
  },
});
