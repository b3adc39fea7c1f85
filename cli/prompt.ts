/**
 * Asks the user on the terminal.
 * @module
 */
import { MeshError } from "../core/errors.ts";
import type { Host } from "./host.ts";

/**
 * Asks for the passphrase of the key in `path`.
 *
 * @throws {MeshError} `passphrase-wrong` when nobody can be asked or the question is cancelled.
 */
export async function askPassphrase(host: Host, path: string): Promise<string> {
  if (!host.isInteractive) {
    throw new MeshError("passphrase-wrong", `Cannot unlock ${path}: nobody to ask its passphrase`, {
      hint: "Run the command in a terminal, or name a key without a passphrase by --identity",
    });
  }
  const { isCancel, password } = await import("@clack/prompts");
  const answer = await password({ message: `Passphrase of ${path}` });
  if (isCancel(answer)) {
    throw new MeshError("passphrase-wrong", `Cannot unlock ${path}: no passphrase was given`);
  }
  return answer;
}

/**
 * Whether the user says yes on the terminal.
 *
 * @throws {MeshError} `usage` when nobody can be asked.
 */
export function askYes(host: Host, question: string): boolean {
  if (!host.isInteractive) {
    throw new MeshError("usage", "Cannot ask whether to go on: this is no terminal", {
      hint: "Add --yes to go on without a question",
    });
  }
  return confirm(question);
}
