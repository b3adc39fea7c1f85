/**
 * Does a command keep what it declares, and nothing else?
 * @module
 */
import assert from "node:assert/strict";
import { visibleCommands } from "./commands.ts";
import { permissionSetOf, unionOf } from "./permissions.ts";
import { tempDir } from "./testing_host.ts";

/** Revokes what `permissions` does not declare in another process, then tries everything there. */
async function tryEverything(permissions: unknown): Promise<Record<string, string>> {
  const path = `${tempDir()}/try.ts`;
  Deno.writeTextFileSync(
    path,
    `
import { revokeUndeclared } from "${new URL("permissions.ts", import.meta.url)}";
revokeUndeclared(${JSON.stringify(permissions)});
const found: Record<string, string> = {};
function attempt(name: string, run: () => void) {
  try {
    run();
    found[name] = "allowed";
  } catch (error) {
    found[name] = (error as Error).name;
  }
}
attempt("read", () => void Deno.readTextFileSync("/etc/passwd"));
attempt("write", () => Deno.removeSync(Deno.makeTempFileSync()));
attempt("net", () => Deno.listen({ port: 0 }).close());
attempt("env", () => void Deno.env.get("HOME"));
attempt("sys", () => void Deno.hostname());
attempt("run", () => void new Deno.Command("true").outputSync());
attempt("ffi", () => void Deno.dlopen("/nonexistent.so", {}));
console.log(JSON.stringify(found));
`,
  );
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", "--quiet", "--no-check", "--no-config", "--no-lock", path],
  }).output();
  assert.equal(new TextDecoder().decode(stderr), "");
  return JSON.parse(new TextDecoder().decode(stdout));
}

const NONE = {
  read: "NotCapable",
  write: "NotCapable",
  net: "NotCapable",
  env: "NotCapable",
  sys: "NotCapable",
  run: "NotCapable",
  ffi: "NotCapable",
};

Deno.test("revokeUndeclared() leaves nothing to a command that declares nothing", async () => {
  assert.deepEqual(await tryEverything({}), NONE);
});

Deno.test("revokeUndeclared() refuses net and ffi to a command that only reads", async () => {
  assert.deepEqual(await tryEverything({ read: ["$config"] }), { ...NONE, read: "allowed" });
});

Deno.test("revokeUndeclared() leaves a coordinator everything but ffi and programs", async () => {
  const serve = (await visibleCommands()).find(({ path }) => path === "tunnelmesh serve")!;
  assert.deepEqual(await tryEverything(serve.command.permissions), {
    read: "allowed",
    write: "allowed",
    net: "allowed",
    env: "allowed",
    sys: "allowed",
    run: "NotCapable",
    ffi: "NotCapable",
  });
});

Deno.test("only what runs a node declares ffi", async () => {
  const commands = (await visibleCommands()).filter(({ command }) => command.permissions.ffi);
  assert.deepEqual(commands.map(({ path }) => path), ["tunnelmesh up", "tunnelmesh join"]);
});

Deno.test("permissionSetOf() names real paths", () => {
  const set = permissionSetOf({ read: ["$control"], write: ["$control"], net: ["$control"] });
  assert.deepEqual(set, {
    read: ["/etc/tunnelmesh", "/root/.tunnelmesh", "/run/tunnelmesh"],
    write: ["/run/tunnelmesh"],
    net: ["localhost:80", "unix:/run/tunnelmesh/default.sock"],
    env: true,
    sys: true,
  });
  const everywhere = permissionSetOf({ read: ["$system", "$config"] });
  assert(!everywhere.read?.toString().includes("/etc/tunnelmesh"), "/etc covers it");
});

Deno.test("unionOf() allows what each set does", () => {
  assert.deepEqual(unionOf([{ read: ["/a"] }, { read: ["/b"], net: ["x"] }, { net: true }]), {
    read: ["/a", "/b"],
    net: true,
  });
});
