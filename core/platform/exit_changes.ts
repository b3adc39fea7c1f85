/**
 * Makes changes for an exit on a system that knows them one by one (macOS, Windows), and undoes them,
 * after a crash too.
 *
 * What keeps traffic from leaving comes first and goes last, so that in between nothing leaves. A
 * record is written before every change; everything in it may be made or undone again.
 * @module
 */
import { z } from "zod";
import { errorMessage } from "../errors.ts";
import { Change, isSame, undoOrder } from "../exit/changes.ts";
import { LockedRecord } from "./locked_record.ts";

const ExitChangesRecord = z.strictObject({ version: z.literal(1), changes: z.array(Change) });
type ExitChangesRecord = z.infer<typeof ExitChangesRecord>;

/** How one system makes and undoes a change. Each does nothing where it is so already. */
export interface ChangeMaker {
  make(change: Change): Promise<void>;
  undo(change: Change): Promise<void>;
}

/** All that shall be there, in the order of making. */
export interface WantedChanges {
  /** Notes and puts in force what keeps traffic from leaving; resolves to all of that. */
  readonly guard: () => Promise<readonly Change[]>;
  /** What does not lead into the tunnel. */
  readonly closing: readonly Change[];
  /** The way into the tunnel. */
  readonly opening: readonly Change[];
}

/** What is changed for an exit; one for each context. */
export class ExitChanges implements Disposable {
  readonly #record: LockedRecord<ExitChangesRecord>;
  readonly #maker: ChangeMaker;

  private constructor(record: LockedRecord<ExitChangesRecord>, maker: ChangeMaker) {
    this.#record = record;
    this.#maker = maker;
  }

  /**
   * Takes responsibility; changes nothing.
   * @param folder State folder of the context.
   * @param hint What to do by hand when the record cannot be read.
   * @throws {MeshError} `already-running` when a live daemon has it.
   */
  static async open(
    folder: string,
    name: string,
    hint: string,
    maker: ChangeMaker,
  ): Promise<ExitChanges> {
    const form = { schema: ExitChangesRecord, hint };
    return new ExitChanges(await LockedRecord.open(folder, name, form), maker);
  }

  /** What is in force, perhaps from a daemon that died. */
  async changes(): Promise<readonly Change[]> {
    return (await this.#record.read())?.changes ?? [];
  }

  /** Writes down what is about to be changed; a setting keeps the value that it had first. */
  async note(changes: readonly Change[]): Promise<void> {
    const noted = await this.changes();
    const isNew = (change: Change) => !noted.some((each) => isSame(each, change));
    await this.#record.write({ version: 1, changes: [...noted, ...changes.filter(isNew)] });
  }

  /**
   * Puts changes in place of all former ones.
   * @returns Why nothing goes into the tunnel yet, or null.
   * @throws {MeshError} `system`; then what has been closed stays closed.
   */
  async put({ guard, closing, opening }: WantedChanges): Promise<string | null> {
    const guards = await guard();
    await this.note([...closing, ...opening]);
    await this.#undoOthers([...guards, ...closing, ...opening]);
    for (const change of closing) await this.#maker.make(change);
    try {
      for (const change of opening) await this.#maker.make(change);
    } catch (error) {
      return errorMessage(error);
    }
    return null;
  }

  /**
   * Undoes everything; does nothing where nothing is in force.
   * @param beforeOpening Called when all is undone but what keeps traffic from leaving.
   */
  async remove(beforeOpening: () => Promise<void> = async () => {}): Promise<void> {
    if (await this.#record.read() === null) return;
    const { rest, guards } = undoOrder(await this.changes());
    for (const change of rest) await this.#maker.undo(change);
    await beforeOpening();
    for (const change of guards) await this.#maker.undo(change);
    await this.#record.clear();
  }

  /** Lets go; what is in force stays. */
  close(): void {
    this.#record.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Removes what a former plan has left. */
  async #undoOthers(wanted: readonly Change[]): Promise<void> {
    const noted = await this.changes();
    const isWanted = (change: Change) => wanted.some((each) => isSame(each, change));
    const { rest, guards } = undoOrder(noted.filter((change) => !isWanted(change)));
    for (const change of [...rest, ...guards]) await this.#maker.undo(change);
    await this.#record.write({ version: 1, changes: noted.filter(isWanted) });
  }
}
