/**
 * `tunnelmesh policy apply|rollback|history|export`: which policy holds, which did, which shall?
 * @module
 */
import { z } from "zod";
import { MeshError } from "../../core/errors.ts";
import { type AbsolutePath, defineCommand } from "../command.ts";
import { readIfPresent, replaceFile } from "../files.ts";
import { type Column, formatTime } from "../format.ts";
import { absolutePath } from "../paths.ts";
import { applyProposal, propose, SHORT_HASH } from "../policy_change.ts";
import { expectDocuments, POLICY_PATHS, readPolicyPaths, textsOf } from "../policy_files.ts";
import { findVersion, policyVersions } from "../policy_history.ts";
import { appliedPolicy } from "../policy_world.ts";
import { KEY, loadSigner, YES } from "../statements.ts";

export const apply = defineCommand({
  name: "apply",
  summary: "Make a policy hold in the whole mesh",
  description:
    "Checks the files, runs their tests, shows who gains or loses what, asks, and states all of " +
    "it as one entry of the mesh's log: a policy holds as a whole or not at all. A mistake " +
    "changes nothing. The files given are the whole policy; what is not in them ends. Only an " +
    "admin can.",
  examples: [
    { command: "tunnelmesh policy apply policy.yaml", meaning: "After looking at the plan" },
    {
      command: "tunnelmesh policy apply policy/ --yes",
      meaning: "Without a question, in a script",
    },
    {
      command: "tunnelmesh policy apply policy.yaml --key ~/.ssh/id_ed25519",
      meaning: "Signed with an admin's key that the daemon has not",
    },
  ],
  input: z.strictObject({ files: POLICY_PATHS, yes: YES, key: KEY }),
  permissions: { opens: ["$control"] },
  async prepare({ files, key }, { host, daemon }) {
    const texts = readPolicyPaths(host, files);
    const mesh = await (await daemon()).mesh();
    const proposal = propose(mesh, appliedPolicy(mesh), texts);
    return { proposal, signer: await loadSigner(host, key) };
  },
  async run({ yes }, context, { proposal, signer }) {
    using client = await context.daemon();
    const { meshId } = proposal.mesh;
    return await applyProposal(proposal, { context, client, meshId, signer, yes });
  },
});

export const rollback = defineCommand({
  name: "rollback",
  summary: "Apply an earlier policy again",
  description: "It is checked, tested and planned like any other, against the mesh as it is now.",
  examples: [
    { command: "tunnelmesh policy rollback 41", meaning: "The one of entry 41 of the log" },
    { command: "tunnelmesh policy rollback 3fa85c", meaning: "The one whose hash begins so" },
    { command: "tunnelmesh policy rollback first", meaning: "The one that a mesh begins with" },
  ],
  input: z.strictObject({
    version: z.string().min(1).meta({
      positional: 0,
      description: "Number of an entry, beginning of a hash, or `first`",
    }),
    yes: YES,
    key: KEY,
  }),
  permissions: { opens: ["$control"] },
  async prepare({ version, key }, { host, daemon }) {
    const client = await daemon();
    const documents = findVersion(policyVersions(await client.meshLog()), version);
    const mesh = await client.mesh();
    const proposal = propose(mesh, appliedPolicy(mesh), textsOf(documents));
    return { proposal, signer: await loadSigner(host, key) };
  },
  async run({ yes }, context, { proposal, signer }) {
    using client = await context.daemon();
    const { meshId } = proposal.mesh;
    return await applyProposal(proposal, { context, client, meshId, signer, yes });
  },
});

export const history = defineCommand({
  name: "history",
  summary: "List the policies that the mesh has had",
  description: "Read from the mesh's log, every signature checked.",
  examples: [{
    command: "tunnelmesh policy history",
    meaning: "Newest first; a star is what holds",
  }],
  permissions: { opens: ["$control"] },
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const versions = policyVersions(await client.meshLog());
    if (versions.length === 0 && !out.isJson) {
      return out.line("No policy was applied yet: the first one holds, `policy explain` shows it");
    }
    if (out.isJson) return versions.forEach((version) => out.jsonLine(version));
    out.list(versions, COLUMNS, ({ seq, at, by, hash, summary, isApplied }) => [
      isApplied ? out.green("*") : "",
      String(seq),
      formatTime(at),
      by,
      hash.slice(0, SHORT_HASH),
      summary,
    ]);
  },
});

const COLUMNS: readonly Column[] = [
  { title: "" },
  { title: "Entry", align: "right" },
  { title: "When" },
  { title: "Who" },
  { title: "Hash" },
  { title: "Change", shrinksTo: 12 },
];

export const exportPolicy = defineCommand({
  name: "export",
  summary: "Write the applied policy as files",
  description:
    "Without a folder a policy of one file is printed. A mesh without a policy of its own has " +
    "the first one, which is a good start for an edit.",
  examples: [
    { command: "tunnelmesh policy export > policy.yaml", meaning: "Into a file" },
    { command: "tunnelmesh policy export policy/", meaning: "Every file of it, into a folder" },
  ],
  input: z.strictObject({
    folder: z.string().min(1).optional().meta({
      positional: 0,
      description: "Where the files go; made when it is not there",
      completes: "files",
    }),
    force: z.boolean().default(false).meta({
      alias: "f",
      description: "Replace files that differ",
    }),
  }),
  permissions: { opens: ["$control"] },
  async prepare({ folder }, { host, daemon }) {
    const { texts } = appliedPolicy(await (await daemon()).mesh());
    // The names come from the mesh: they must stay in the folder.
    return { texts: expectDocuments(texts), folder: folder && absolutePath(host, folder) };
  },
  permissionsFor({ folder }) {
    const paths = folder ? [folder as AbsolutePath] : [];
    return folder ? { read: paths, write: paths } : {};
  },
  async run({ force }, { host, out, daemon }, { texts, folder }) {
    using _client = await daemon();
    const files = texts.map(({ file, text }) => ({ file, text }));
    if (!folder) {
      if (out.isJson) return out.document({ documents: files }, () => []);
      if (files.length === 1) return out.raw(files[0]!.text);
      throw new MeshError("usage", `Cannot print a policy of ${files.length} files as one`, {
        hint: "Name a folder for them: `tunnelmesh policy export FOLDER`",
      });
    }
    const places = files.map(({ file, text }) => ({ path: `${folder}/${file}`, text }));
    const changed = places.filter(({ path, text }) => readIfPresent(path) !== text);
    const other = changed.find(({ path }) => readIfPresent(path) !== null);
    if (other && !force) {
      throw new MeshError("usage", `Cannot write ${other.path}: another text is there`, {
        hint: "Add --force to replace it, or name another folder",
      });
    }
    for (const { path, text } of changed) {
      replaceFile(path, text, { owner: host.owner, mode: 0o644 });
    }
    out.document(
      { files: places.map(({ path }) => path) },
      () =>
        places.map(({ path }) =>
          `${changed.some((each) => each.path === path) ? "Wrote" : "Kept"} ${path}`
        ),
    );
  },
});
