/**
 * Our nodes and the Linux kernel's own WireGuard, in a virtual machine.
 * @module
 */
import { interopTests } from "../interop/scenario.ts";
import { VirtualMachine, VM_NEEDS } from "./vm.ts";

interopTests({
  name: "the Linux kernel",
  needs: { ...VM_NEEDS, tools: [...VM_NEEDS.tools!, "iperf3"] },
  boot: async (lan, mtu) => {
    const machine = await VirtualMachine.boot(lan, { mtu });
    return {
      ip4: machine.ip4,
      start: (device) => machine.startWireGuard(device),
      shell: (script) => machine.run(script),
      reorder: () => machine.reorder(),
      [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
    };
  },
});
