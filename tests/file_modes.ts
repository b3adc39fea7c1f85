/**
 * Which files and folders below a folder do others than their owner get at?
 * @module
 */

/** Files that are meant for everyone. */
const PUBLIC = /\.pub$|\.ro\.sock$/;

/** Paths below `folder`, itself included, with their modes in octal where those are too wide. */
export function openToOthers(folder: string): string[] {
  const wrong: string[] = [];
  const look = (path: string, isPublic: boolean) => {
    const { mode, isDirectory } = Deno.lstatSync(path);
    const bits = mode! & 0o777;
    const most = isDirectory ? 0o700 : isPublic ? 0o666 : 0o600;
    if ((bits & ~most) !== 0) wrong.push(`${path.slice(folder.length)} ${bits.toString(8)}`);
    if (!isDirectory) return;
    for (const { name } of Deno.readDirSync(path)) look(`${path}/${name}`, PUBLIC.test(name));
  };
  look(folder, false);
  return wrong;
}

/** The command, with a umask that takes no permission bits away. */
export function withOpenUmask(command: readonly string[]): string[] {
  return ["/bin/sh", "-c", 'umask 0; exec "$@"', "sh", ...command];
}
