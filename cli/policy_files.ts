/**
 * Which documents do the files and folders on a command line hold?
 * @module
 */
import { z } from "zod";
import { errorMessage, MeshError } from "../core/errors.ts";
import { type PolicyDocument, PolicyDocuments } from "../core/state/bodies.ts";
import { readIfPresent } from "./files.ts";
import type { Host } from "./host.ts";
import { absolutePath } from "./paths.ts";

/** One file of a policy: its name in the mesh, and the name that messages use. */
export interface PolicyText extends PolicyDocument {
  /** As the user typed it; for documents of the mesh the name there. */
  readonly shown: string;
}

/** Folders in folders beyond these are no policy any more. */
const MAX_DEPTH = 8;

/**
 * Reads the files named, and of a folder all `*.yaml` and `*.yml` in it and below it, hidden ones
 * left out. A file is called in the mesh as it is below its folder; one that is named alone by its
 * last part.
 *
 * @throws {MeshError} `usage` when there is none, `config-invalid` for what the mesh cannot hold.
 */
export function readPolicyPaths(host: Host, paths: readonly string[]): PolicyText[] {
  const texts = paths.flatMap((path): PolicyText[] => {
    const absolute = absolutePath(host, path);
    const shown = path.replace(/\/+$/, "") || "/";
    if (isFolder(absolute)) {
      return filesBelow(absolute).map((file) =>
        readOne(`${absolute}/${file}`, file, inside(shown, file))
      );
    }
    return [readOne(absolute, absolute.slice(absolute.lastIndexOf("/") + 1), shown)];
  });
  if (texts.length === 0) {
    throw new MeshError("usage", `Cannot find a policy in ${paths.join(", ")}: no *.yaml there`, {
      hint: "`tunnelmesh policy export DIR` writes the one that holds now",
    });
  }
  return expectDocuments(texts);
}

/** The documents as the log wants them. @throws {MeshError} `config-invalid` */
export function expectDocuments(texts: readonly PolicyText[]): PolicyText[] {
  const sorted = [...texts].sort((a, b) => a.file < b.file ? -1 : 1);
  const twice = sorted.find(({ file }, i) => i > 0 && sorted[i - 1]!.file === file);
  if (twice) {
    throw new MeshError("config-invalid", `Cannot use two files named ${twice.file} in a policy`, {
      hint: "Rename one, or name the folder that holds both",
    });
  }
  const result = PolicyDocuments.safeParse(documentsOf(sorted));
  if (!result.success) {
    const { path: [index], message } = result.error.issues[0]!;
    const where = sorted[Number(index)]?.shown ?? "the policy";
    throw new MeshError("config-invalid", `Cannot use ${where} as a policy: it ${message}`);
  }
  return sorted;
}

/** Without the names for messages. */
export function documentsOf(texts: readonly PolicyText[]): PolicyDocument[] {
  return texts.map(({ file, text }) => ({ file, text }));
}

/** Documents that the mesh has, under their names there. */
export function textsOf(documents: readonly PolicyDocument[]): PolicyText[] {
  return documents.map((each) => ({ ...each, shown: each.file }));
}

function inside(folder: string, file: string): string {
  return folder === "." ? file : `${folder === "/" ? "" : folder}/${file}`;
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function filesBelow(folder: string, prefix = "", depth = 0): string[] {
  if (depth > MAX_DEPTH) return [];
  try {
    return [...Deno.readDirSync(folder)].filter(({ name }) => !name.startsWith(".")).flatMap(
      ({ name, isDirectory }) => {
        if (isDirectory) return filesBelow(`${folder}/${name}`, `${prefix}${name}/`, depth + 1);
        return /\.ya?ml$/.test(name) ? [prefix + name] : [];
      },
    );
  } catch (cause) {
    throw new MeshError("system", `Cannot read ${folder}: ${errorMessage(cause)}`, { cause });
  }
}

function readOne(path: string, file: string, shown: string): PolicyText {
  const text = readIfPresent(path);
  if (text === null) {
    throw new MeshError("usage", `Cannot read ${shown}: there is no such file or folder`);
  }
  return { file, text, shown };
}

/** The argument that names files and folders. */
export const POLICY_PATHS = z.array(z.string().min(1)).min(1).meta({
  positional: 0,
  description: "Policy files, or a folder with *.yaml in it",
  placeholder: "FILE",
  completes: "files",
});
