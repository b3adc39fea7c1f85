/**
 * The platforms we build for, and the Deno runtime of each as npm carries it.
 *
 * Every runtime is pinned by the hash of its package, so that a build on any machine and day holds
 * the same bytes. Versions differ where a platform's package of the newest version was not to be
 * had when the table was made.
 * @module
 */
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { run } from "./process.ts";
import { readTarFile } from "./tar.ts";

/** A platform. */
export interface Target {
  /** `<os>-<arch>`, part of the artifact's name. */
  readonly name: string;
  /** What `deno compile --target` calls it. */
  readonly triple: string;
  /** The npm package with its runtime. */
  readonly package: string;
  readonly version: string;
  /** Subresource integrity of the package's archive. */
  readonly integrity: string;
  /** SHA-256 of the executable inside, where the running one may be taken. */
  readonly sha256?: string;
  /** Of an executable: `.exe` or nothing. */
  readonly extension: string;
}

/** All of them. */
export const TARGETS: readonly Target[] = [
  {
    name: "linux-x64",
    triple: "x86_64-unknown-linux-gnu",
    package: "@deno/linux-x64-glibc",
    version: "2.9.6",
    integrity:
      "sha512-3md4TKLCuzsLDmfOoC5KN7NAZaxSVkMgm64vg6foD00JBADCpYS2/5QqXfzgnP5ZQz3iLP9vBQJtEgc116OAoQ==",
    sha256: "bceb5b6a6239b0b010418406d8c77a508f67cf4337d94288f1c19fe71304aab0",
    extension: "",
  },
  {
    name: "linux-arm64",
    triple: "aarch64-unknown-linux-gnu",
    package: "@deno/linux-arm64-glibc",
    version: "2.9.5",
    integrity:
      "sha512-IuYjsz9PGl7CJcNXMuN27KNDB8Q40brK3SG3l+TXMDVW61ZKwcn0fQHBHnXFiiygEwI8by/fKnASEluhZB1atw==",
    extension: "",
  },
  {
    name: "macos-x64",
    triple: "x86_64-apple-darwin",
    package: "@deno/darwin-x64",
    version: "2.9.5",
    integrity:
      "sha512-gbdlxWZuAZFiJiZtTT00Mv/aC7f/31+pyqJGQKlZr5X33WeTo5B0GG+efcX3P1UZceRKHuPEAQ1B/M2oRt8r9Q==",
    extension: "",
  },
  {
    name: "macos-arm64",
    triple: "aarch64-apple-darwin",
    package: "@deno/darwin-arm64",
    version: "2.9.5",
    integrity:
      "sha512-SX98qSdBT1lw9x6NwGwx2xIayl1kRimdRnFohYlJ6nt3mLKzTKHHKQwQs5D2pEY7mbUGGbYe9brM2kfN75pPkg==",
    extension: "",
  },
  {
    name: "windows-x64",
    triple: "x86_64-pc-windows-msvc",
    package: "@deno/win32-x64",
    version: "2.9.5",
    integrity:
      "sha512-LkcERsH0olOgevg9L9eootSr1U8ydyfnX1bS3mFqU+lGBeTYtlec5b/QF473WUOGVgPlWECrkxi4As5kEaFOzg==",
    extension: ".exe",
  },
];

/** The platform this program runs on, or null when we do not build for it. */
export function hostTarget(): Target | null {
  const triple = Deno.build.target;
  return TARGETS.find((target) => target.triple === triple) ?? null;
}

/** Finds a platform by its name or its triple. */
export function findTarget(name: string): Target | null {
  return TARGETS.find((target) => target.name === name || target.triple === name) ?? null;
}

/**
 * The `deno` executable for a platform: the running one when it is that very file, otherwise out of
 * its npm package.
 * @throws {Error} when the package cannot be fetched or is not the pinned one.
 */
export async function fetchRuntime(target: Target): Promise<Uint8Array> {
  if (target.triple === Deno.build.target && target.sha256 !== undefined) {
    const running = await Deno.readFile(Deno.execPath());
    if (digest("sha256", running, "hex") === target.sha256) return running;
  }
  const archive = await fetchPackage(target);
  const integrity = `sha512-${digest("sha512", archive, "base64")}`;
  if (integrity !== target.integrity) {
    throw new Error(
      `Cannot use ${target.package}@${target.version}: its hash is ${integrity}, ` +
        `not ${target.integrity}`,
    );
  }
  const runtime = readTarFile(gunzipSync(archive), `package/deno${target.extension}`);
  if (!runtime) {
    throw new Error(`Cannot use ${target.package}: it holds no deno${target.extension}`);
  }
  return runtime;
}

/** Hash of bytes as text. */
export function digest(
  algorithm: "sha256" | "sha512",
  bytes: Uint8Array,
  encoding: "hex" | "base64",
): string {
  return createHash(algorithm).update(bytes).digest(encoding);
}

async function fetchPackage(target: Target): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir({ prefix: "tunnelmesh-runtime-" });
  try {
    const { code, output } = await run({
      command: Deno.build.os === "windows" ? "npm.cmd" : "npm",
      args: [
        "pack",
        "--silent",
        "--pack-destination",
        folder,
        `${target.package}@${target.version}`,
      ],
      isQuiet: true,
      limitMs: 600_000,
    }).catch((error) => ({ code: 1, output: `npm: ${error.message}` }));
    if (code !== 0) {
      throw new Error(
        `Cannot fetch ${target.package}@${target.version} with npm: ${output.trim()}`,
      );
    }
    const [entry] = [...Deno.readDirSync(folder)];
    return await Deno.readFile(`${folder}/${entry!.name}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
