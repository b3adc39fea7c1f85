/**
 * Does a command keep what it declares, and nothing else?
 * @module
 */
import assert from "node:assert/strict";
import { allCommands, visibleCommands } from "./commands.ts";
import type { Permissions } from "./command.ts";
import { permissionSetOf, WIDE_FLAGS } from "./permissions.ts";
import { tempDir } from "./testing_host.ts";

/**
 * Revokes what `permissions` does not declare in another process, then tries everything there. Every
 * place is `/etc`.
 */
async function tryEverything(
  permissions: Permissions,
  flags: readonly string[] = WIDE_FLAGS,
): Promise<Record<string, string>> {
  const path = `${tempDir()}/try.ts`;
  Deno.writeTextFileSync(
    path,
    `
import { revokeUndeclared } from "${new URL("permissions.ts", import.meta.url)}";
await revokeUndeclared(${JSON.stringify(permissions)}, () => ["/etc"]);
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
attempt("read elsewhere", () => void Deno.statSync("/usr"));
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
    args: [
      "run",
      ...flags,
      "--no-prompt",
      "--quiet",
      "--no-check",
      "--no-config",
      "--no-lock",
      path,
    ],
  }).output();
  assert.equal(new TextDecoder().decode(stderr), "");
  return JSON.parse(new TextDecoder().decode(stdout));
}

const NONE = {
  read: "NotCapable",
  "read elsewhere": "NotCapable",
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

Deno.test("revokeUndeclared() leaves a command that reads the places it names", async () => {
  assert.deepEqual(await tryEverything({ read: ["$config"] }), { ...NONE, read: "allowed" });
  assert.deepEqual(await tryEverything({ read: ["/usr"] }), {
    ...NONE,
    "read elsewhere": "allowed",
  });
});

Deno.test("revokeUndeclared() cannot take paths from a process that may do everything", async () => {
  assert.deepEqual(await tryEverything({ read: ["$config"] }, ["-A"]), {
    ...NONE,
    read: "allowed",
    "read elsewhere": "allowed",
  });
});

Deno.test("revokeUndeclared() keeps a process that was started with less to that", async () => {
  const start = ["--allow-read=/usr", "--allow-net"];
  assert.deepEqual(await tryEverything({ read: ["$config"], ffi: true }, start), {
    ...NONE,
    "read elsewhere": "allowed",
  });
});

Deno.test("revokeUndeclared() leaves a coordinator neither ffi nor programs", async () => {
  const serve = (await visibleCommands()).find(({ path }) => path === "tunnelmesh serve")!;
  assert.deepEqual(await tryEverything(serve.command.permissions), {
    ...NONE,
    read: "allowed",
    net: "allowed",
    sys: "allowed",
  });
});

/** Who declares what; `tests/privileges_test.ts` sees to it that nobody has more. */
const DECLARERS: Readonly<Record<string, readonly string[]>> = {
  ffi: ["up", "join"],
  run: ["up", "join"],
  net: ["up", "join", "serve"],
  env: ["up", "join"],
  sys: ["up", "join", "serve", "init"],
  write: [
    "up",
    "join",
    "leave",
    "serve",
    "init",
    "context create",
    "context use",
    "context delete",
  ],
};

for (const [kind, expected] of Object.entries(DECLARERS)) {
  Deno.test(`${kind} is declared by those alone that need it`, async () => {
    const commands = (await allCommands()).filter(({ command }) => kind in command.permissions);
    assert.deepEqual(commands.map(({ path }) => path.replace(/^tunnelmesh /, "")), expected);
  });
}

Deno.test("no command may read or write everything", async () => {
  for (const { path, command: { permissions } } of await allCommands()) {
    assert(permissions.read !== true && permissions.write !== true, path);
  }
});

Deno.test("permissionSetOf() names real paths", () => {
  const set = permissionSetOf({ opens: ["$control"], write: ["$state"] });
  assert.deepEqual(set, {
    read: ["/etc/tunnelmesh", "/root/.tunnelmesh", "/run/tunnelmesh"],
    write: ["/run/tunnelmesh", "/var/lib/tunnelmesh"],
    net: ["unix:/run/tunnelmesh/default.sock", "unix:/run/tunnelmesh/default.ro.sock"],
    env: true,
    sys: true,
  });
  const everywhere = permissionSetOf({ read: ["$system", "$config"] });
  assert(!everywhere.read?.toString().includes("/etc/tunnelmesh"), "/etc covers it");
});
