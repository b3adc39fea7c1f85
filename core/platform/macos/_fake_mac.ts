/**
 * A Mac as far as exits change it: routes, anchors of pf, references to pf, settings. Records what
 * it was told, and fails where a test wants it to.
 * @module
 */
import { strict as assert } from "node:assert";
import type { Command } from "../../exit/changes.ts";
import type { CommandAnswer } from "../run_command.ts";

const DONE: CommandAnswer = { code: 0, stdout: "", stderr: "" };
const FAILED: CommandAnswer = { code: 1, stdout: "", stderr: "false system: refused" };

/** Where a route leads: words as route(8) takes them. */
type Way = string;

export class FakeMac {
  readonly routes = new Map<string, Way>();
  readonly anchors = new Map<string, string>();
  readonly references = new Set<string>();
  readonly sysctls = new Map([["net.inet.ip.forwarding", "0"], ["net.inet6.ip6.forwarding", "0"]]);
  mainRules = 'anchor "com.apple/*" all\n';
  natRules = 'nat-anchor "com.apple/*" all\n';
  /** Keys of configd, with what was put there. */
  readonly keys = new Map<string, string>();
  gateway = "192.168.1.1";
  /** Everything it was told that changes something. */
  told: string[] = [];
  /** How many commands it was given. */
  count = 0;
  /** The number of the command that fails; -1 for none. */
  failing = -1;
  /** Called before each command. */
  watch: (words: string) => void = () => {};
  #tokens = 100;

  readonly run = (command: Command): Promise<CommandAnswer> => {
    const words = command.argv.join(" ");
    this.watch(words);
    const isFailing = this.count++ === this.failing;
    return Promise.resolve(isFailing ? FAILED : this.#answer(command, words));
  };

  /** What an exit leaves no trace in once it is undone. */
  get state() {
    return {
      routes: [...this.routes],
      anchors: [...this.anchors.keys()],
      references: this.references.size,
      sysctls: [...this.sysctls],
      keys: [...this.keys],
    };
  }

  /** The tunnel's interface goes, and its routes with it. */
  dropInterface(name: string): void {
    for (const [to, way] of this.routes) if (way === `-interface ${name}`) this.routes.delete(to);
  }

  /** Nothing of it outlives the machine. */
  reboot(): void {
    for (const each of [this.routes, this.anchors, this.references, this.keys]) each.clear();
  }

  #answer({ argv, input }: Command, words: string): CommandAnswer {
    const [program, ...args] = argv;
    switch (program) {
      case "/usr/sbin/netstat":
        return { ...DONE, stdout: this.#listing(args.at(-1)!) };
      case "/sbin/route":
        return this.#route(args[1]!, args[3]!, args.slice(4).join(" "), words);
      case "/sbin/pfctl":
        return this.#pfctl(args, input, words);
      case "/usr/sbin/sysctl":
        return this.#sysctl(args, words);
    }
    if (program === "/usr/sbin/scutil") return this.#scutil(input);
    return assert.fail(`there is no program ${program}`);
  }

  #scutil(input: string): CommandAnswer {
    const lines = input.split("\n");
    assert.deepEqual([lines[0], ...lines.slice(-2)], ["open", "close", ""]);
    const [verb, key] = lines.at(-3)!.split(" ");
    const present = this.keys.get(key!);
    if (verb === "show") return { ...DONE, stdout: present ?? "  No such key\n" };
    this.told.push(`scutil ${verb} ${key}`);
    const servers = /ServerAddresses \* (\S+)/.exec(input)?.[1];
    if (verb === "set") {
      this.keys.set(key!, `  ServerAddresses : <array> {\n    0 : ${servers}\n  }\n`);
    } else this.keys.delete(key!);
    return DONE;
  }

  #listing(family: string): string {
    const header = "Destination Gateway Flags Netif Expire\n";
    return family === "inet"
      ? `${header}default ${this.gateway} UGScg en0\n192.168.1 link#6 UCS en0 !\n`
      : `${header}default fe80::1%en0 UGcg en0\n`;
  }

  #route(verb: string, to: string, way: string, words: string): CommandAnswer {
    const present = this.routes.get(to);
    if (verb === "get") {
      if (present !== undefined) return { ...DONE, stdout: describe(to, present) };
      return to.includes("/")
        ? { ...FAILED, stderr: "route: writing to routing socket: not in table" }
        : { ...DONE, stdout: "destination: default\nmask: default\ninterface: en0\n" };
    }
    this.told.push(words);
    // As macOS does: status 0, and the truth in words alone.
    if (verb === "add" && present !== undefined) return { ...DONE, stderr: "File exists" };
    if (verb === "delete" && present === undefined) return { ...DONE, stderr: "not in table" };
    if (verb === "add") this.routes.set(to, way);
    else this.routes.delete(to);
    return DONE;
  }

  #pfctl(args: readonly string[], input: string, words: string): CommandAnswer {
    const [option, value, ...rest] = args;
    if (option === "-s") {
      const references = [...this.references].map((token) => `1 pfctl ${token} now`).join("\n");
      const listings: Record<string, string> = {
        rules: this.mainRules,
        nat: this.natRules,
        References: references,
      };
      return { ...DONE, stdout: listings[value!] ?? assert.fail(words) };
    }
    if (option === "-a" && rest[0] === "-s") {
      return { ...DONE, stdout: [...this.anchors.keys()].map((name) => `  ${name}`).join("\n") };
    }
    this.told.push(words);
    if (option === "-a" && rest[0] === "-f") this.anchors.set(value!, input);
    else if (option === "-a") this.anchors.delete(value!);
    else if (option === "-X") return this.references.delete(value!) ? DONE : FAILED;
    else if (option === "-E") {
      const token = `${this.#tokens++}`;
      this.references.add(token);
      return { ...DONE, stderr: `pf enabled\nToken : ${token}\n` };
    } else assert.equal(words, "/sbin/pfctl -F states");
    return DONE;
  }

  #sysctl([option, word]: readonly string[], words: string): CommandAnswer {
    const [name, value] = word!.split("=");
    if (option === "-n") return { ...DONE, stdout: this.sysctls.get(name!)! + "\n" };
    this.told.push(words);
    this.sysctls.set(name!, value!);
    return DONE;
  }
}

function describe(to: string, way: Way): string {
  const [address, length] = to.split("/");
  const mask = to.includes(":") ? "8000::" : "128.0.0.0";
  const [option, value] = way.split(" ");
  return [
    `destination: ${/^(0\.0\.0\.0|::)$/.test(address!) ? "default" : address}`,
    ...length === undefined ? [] : [`mask: ${mask}`],
    option === "-gateway" ? `gateway: ${value}` : `interface: ${value}`,
    `flags: <UP,${way.includes("-reject") ? "REJECT," : ""}DONE>`,
  ].join("\n");
}
