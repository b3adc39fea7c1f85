/**
 * Builds what users download: `deno task compile [--kind compile|portable] [--target NAME ...]`.
 *
 * `compile` makes one executable per platform with `deno compile`; `portable` makes one shell script
 * per platform that carries the runtime, out of npm packages alone. Both write
 * `dist/tunnelmesh-<version>-<os>-<arch>...` and `dist/SHA256SUMS`.
 * @module
 */
import { parseArgs } from "node:util";
import config from "../deno.json" with { type: "json" };
import { WIDE_FLAGS } from "../cli/permissions.ts";
import { bundle, ENTRIES } from "./bundle.ts";
import { buildPortable } from "./portable.ts";
import { formatSeconds, runDeno } from "./process.ts";
import { digest, fetchRuntime, findTarget, hostTarget, type Target, TARGETS } from "./runtimes.ts";

/** How a platform's file is made. */
type Kind = "compile" | "portable";

const HELP = `deno task compile [--kind compile|portable] [--target NAME]... [--output FOLDER]

  --kind compile    One executable per platform by \`deno compile\` (the default); its base
                    runtime comes from Deno's download host
  --kind portable   One shell script per platform with the runtime inside, from npm alone
  --target NAME     ${TARGETS.map((target) => target.name).join(", ")}
                    (default: all for compile, this machine's for portable)
  --output FOLDER   Default: dist
`;

/** Files that no import leads to: the packet workers. */
const INCLUDED: readonly string[] = [ENTRIES.worker];

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      kind: { type: "string", default: "compile" },
      target: { type: "string", multiple: true },
      output: { type: "string", default: "dist" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (values.kind !== "compile" && values.kind !== "portable") {
    console.error(`Cannot build kind "${values.kind}": it is compile or portable`);
    return 2;
  }
  const targets: Target[] = [];
  for (const name of values.target ?? defaultTargets(values.kind)) {
    const target = findTarget(name);
    if (!target) {
      console.error(`Cannot build for "${name}": the targets are ${TARGETS.map((t) => t.name)}`);
      return 2;
    }
    targets.push(target);
  }
  await Deno.mkdir(values.output, { recursive: true });
  let failures = 0;
  for (const target of targets) {
    if (!await build(values.kind, target, values.output)) failures++;
  }
  await writeChecksums(values.output);
  if (failures > 0) console.error(`${failures} of ${targets.length} files could not be built`);
  return failures === 0 ? 0 : 1;
}

/** The name of the file for a platform. */
export function artifactName(kind: Kind, target: Target): string {
  const stem = `tunnelmesh-${config.version}-${target.name}`;
  return kind === "portable" ? `${stem}-portable` : stem + target.extension;
}

function defaultTargets(kind: Kind): string[] {
  if (kind === "compile") return TARGETS.map((target) => target.name);
  const host = hostTarget();
  return [host?.name ?? Deno.build.target];
}

async function build(kind: Kind, target: Target, folder: string): Promise<boolean> {
  const path = `${folder}/${artifactName(kind, target)}`;
  const started = performance.now();
  try {
    if (kind === "portable") await buildPortableFile(target, path);
    else await compileFile(target, path);
  } catch (error) {
    console.error(`${path}: ${error instanceof Error ? error.message : error}`);
    return false;
  }
  const { size } = await Deno.stat(path);
  const took = formatSeconds(performance.now() - started);
  console.log(`${path}: ${(size / 1e6).toFixed(1)} MB (${took})`);
  return true;
}

async function buildPortableFile(target: Target, path: string): Promise<void> {
  if (target.extension === ".exe") {
    throw new Error("Cannot build the portable form for Windows: it is a shell script");
  }
  const [runtime, files] = await Promise.all([fetchRuntime(target), bundle()]);
  await Deno.writeFile(path, buildPortable({ version: config.version, runtime, files }));
  await Deno.chmod(path, 0o755);
}

async function compileFile(target: Target, path: string): Promise<void> {
  // Windows has no path above all others.
  const flags = target.extension === ".exe" ? ["--allow-all"] : WIDE_FLAGS;
  const args = ["compile", ...flags, "--no-prompt", "--target", target.triple];
  for (const file of INCLUDED) args.push("--include", file);
  const { code, output } = await runDeno([...args, "--output", path, ENTRIES.app], {
    isQuiet: true,
    limitMs: 900_000,
  });
  if (code === 0) return;
  if (/denort|error sending request|dl\.deno\.land/i.test(output)) {
    const version = Deno.version.deno;
    throw new Error(
      `Cannot fetch the base runtime denort ${version} for ${target.triple}: ${reason(output)}\n` +
        `  Put denort-${target.triple}.zip of Deno's release v${version} into ` +
        `$DENO_DIR/dl/release/v${version}/,\n  name an unpacked one with DENORT_BIN, or build ` +
        `the other form: deno task compile --kind portable`,
    );
  }
  throw new Error(`Cannot compile: ${output.trim()}`);
}

/** One line per file as `sha256sum --check` reads them, sorted by name. */
async function writeChecksums(folder: string): Promise<void> {
  const names = [...Deno.readDirSync(folder)].filter((entry) => entry.isFile)
    .map((entry) => entry.name).filter((name) => name.startsWith("tunnelmesh-")).sort();
  const lines = await Promise.all(names.map(async (name) => {
    return `${digest("sha256", await Deno.readFile(`${folder}/${name}`), "hex")}  ${name}\n`;
  }));
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, lines.join(""));
}

/** The line of the compiler's words that says why. */
function reason(output: string): string {
  const lines = output.split("\n").map((line) => line.trim());
  const why = lines.find((line) => line.includes("error sending request")) ?? lines.at(-1) ?? "";
  return why.replace(/^\d+: /, "");
}

if (import.meta.main) Deno.exit(await main(Deno.args));
