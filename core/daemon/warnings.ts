/**
 * What should users know of a node that works less well than it could? Each warning is a sentence.
 * @module
 */
import type { ControlReport } from "../control/client.ts";
import type { Revoked } from "../state/state.ts";
import type { ExitReport } from "./exit_report.ts";

/** A clock this far off is worth a warning. */
const CLOCK_WARNING_MS = 60_000;

/** Of the coordinator and of clocks. */
export function controlWarnings(
  { clockOffsetMs, lastError, state }: ControlReport,
): string[] {
  const warnings: string[] = [];
  if (clockOffsetMs !== null && Math.abs(clockOffsetMs) > CLOCK_WARNING_MS) {
    const direction = clockOffsetMs > 0 ? "ahead of" : "behind";
    const minutes = Math.round(Math.abs(clockOffsetMs) / 60_000);
    warnings.push(`This machine's clock is ${minutes} min ${direction} the coordinator's`);
  }
  if (state === "refused") {
    const why = lastError ?? "it did not say why";
    // The node itself may not have heard of its revocation: who is revoked is told nothing more.
    const isRevoked = why.includes("revoked");
    const advice = isRevoked
      ? "Only an admin can let it in again: tunnelmesh node admit"
      : "An admin can renew or admit it; or leave and join with a new token";
    warnings.push(`The coordinator refuses this node: ${why}. ${advice}`);
  }
  return warnings;
}

/** That this node is no member any more. */
export function revocationWarnings(revoked: Revoked | undefined): string[] {
  if (!revoked) return [];
  const why = revoked.reason === "" ? "" : ` (${revoked.reason})`;
  const how = `tunnelmesh node admit ${revoked.id}`;
  return [`This node was revoked${why}: only an admin can let it in again, with: ${how}`];
}

/** Of the way out of the mesh. */
export function exitWarnings({ state, problem, own }: ExitReport): string[] {
  const held = "Traffic to the internet is held back";
  return [
    ...state === "blocked" ? [`${held}: ${problem ?? "no exit is there"}`] : [],
    ...state === "direct" ? ["The exit is lost: traffic to the internet goes past the mesh"] : [],
    ...state === "in-use" && problem !== null ? [problem] : [],
    ...own.obstacles.map(({ chain, allow }) =>
      `${chain} drops what peers send through this node; allow it with: ${allow}`
    ),
  ];
}
