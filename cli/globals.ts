/**
 * The values of the options that every command takes.
 * @module
 */

/** From the command line, else from the environment; null where neither says anything. */
export interface GlobalOptions {
  readonly json: boolean;
  readonly help: boolean;
  readonly config: string | null;
  readonly logLevel: string | null;
  readonly context: string | null;
  readonly identity: string | null;
  readonly stateDir: string | null;
}
