/**
 * Does a long-running command tell people and programs the same?
 * @module
 */
import assert from "node:assert/strict";
import { createProgress } from "./progress.ts";
import { TestOutput } from "./testing_host.ts";

const READY = {
  name: "anna",
  addresses: ["172.30.0.2"],
  meshId: "6f1d",
  interfaceName: "tun-mesh0",
  coordinatorUrl: null,
};

Deno.test("createProgress() writes lines, and warnings on standard error", () => {
  const out = new TestOutput();
  const progress = createProgress(out);
  progress.step("Registering");
  progress.warning("The name is taken", "Choose another");
  progress.ready(READY);
  progress.listening(["https://a:8443"]);
  progress.invitation("https://a:8443", "tm2_x");
  progress.stopping("Stopping");
  assert.equal(
    out.written.join(""),
    `- Registering
Ready: anna is 172.30.0.2
- Coordinator listens on https://a:8443

To add a machine, run there within 24 hours:

  sudo tunnelmesh join https://a:8443 --token tm2_x

- Stopping
`,
  );
  assert.equal(out.errors.join(""), "warning: The name is taken\nhint: Choose another\n");
});

Deno.test("createProgress() writes an object per event with --json", () => {
  const out = new TestOutput(true);
  const progress = createProgress(out);
  progress.step("Registering");
  progress.ready(READY);
  progress.invitation("https://a:8443", "tm2_x");
  assert.deepEqual(out.written.map((line) => JSON.parse(line)), [
    { type: "step", text: "Registering" },
    { type: "ready", ...READY },
    {
      type: "invitation",
      url: "https://a:8443",
      token: "tm2_x",
      command: "sudo tunnelmesh join https://a:8443 --token tm2_x",
    },
  ]);
});

Deno.test("createProgress() warns when what follows readiness fails", async () => {
  const out = new TestOutput();
  const failing = () => Promise.reject(new Error("Cannot save the context"));
  createProgress(out, failing).ready(READY);
  await Promise.resolve();
  await Promise.resolve();
  assert.match(out.errors.join(""), /warning: .*Cannot save the context/);
});
