/**
 * A Windows machine as far as exits change it: routes, rules of the firewall, rules for names.
 * Records what it was told, and fails where a test wants it to.
 * @module
 */
import { strict as assert } from "node:assert";
import type { Command } from "../../exit/changes.ts";
import type { CommandAnswer } from "../run_command.ts";

const DONE: CommandAnswer = { code: 0, stdout: "", stderr: "" };
/** netsh says everything on its output, in the user's language. */
const FAILED: CommandAnswer = { code: 1, stdout: "Falsches System: verweigert", stderr: "" };
const PROFILE = { Name: "Public", Enabled: 1, AllowLocalFirewallRules: 2 };

export class FakeWindows {
  /** Routes by family and prefix: `interface nexthop`. */
  readonly routes = new Map<string, string>();
  readonly rules = new Set<string>();
  readonly names = new Map<string, string[]>();
  profiles = [PROFILE];
  gateway = "192.168.1.1";
  hasTunnel = true;
  hasIpv6 = true;
  /** Everything it was told that changes something. */
  told: string[] = [];
  count = 0;
  /** The number of the command that fails; -1 for none. */
  failing = -1;
  /** Called before each command. */
  watch: (words: string) => void = () => {};

  readonly run = (command: Command): Promise<CommandAnswer> => {
    const words = command.argv.slice(1).join(" ");
    this.watch(words);
    const isFailing = this.count++ === this.failing;
    return Promise.resolve(isFailing ? FAILED : this.#answer(command, words));
  };

  /** What an exit leaves no trace in once it is undone. */
  get state() {
    return { routes: [...this.routes], rules: [...this.rules], names: [...this.names] };
  }

  /** The tunnel's interface goes, and its routes with it. */
  dropTunnel(): void {
    this.hasTunnel = false;
    for (const [to, way] of this.routes) if (way.startsWith("21 ")) this.routes.delete(to);
  }

  /** Rules outlive the machine, active routes do not. */
  reboot(): void {
    this.dropTunnel();
    this.routes.clear();
  }

  #answer({ argv, input }: Command, words: string): CommandAnswer {
    if (argv[0] === "powershell.exe") return this.#powershell(words, input);
    assert.equal(argv[0], "netsh.exe");
    const [, context, family, verb, what, ...values] = argv;
    const value = (name: string) =>
      values.find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1);
    if (context === "advfirewall") return this.#firewall(verb!, value("name")!, words);
    if (family === "ipv6" && !this.hasIpv6) return FAILED;
    if (what === "interfaces") return { ...DONE, stdout: this.#interfaces() };
    if (verb === "show") return { ...DONE, stdout: this.#listing(family!) };
    const key = `${family} ${value("prefix")}`;
    this.told.push(words);
    if (verb === "delete") return this.routes.delete(key) ? DONE : FAILED;
    const device = value("interface")!;
    const isUnknown = device !== "1" && device !== "12" && !(device === "21" && this.hasTunnel);
    if (isUnknown || this.routes.has(key)) return FAILED;
    this.routes.set(key, `${device} ${value("nexthop") ?? "-"}`);
    return DONE;
  }

  #firewall(verb: string, name: string, words: string): CommandAnswer {
    if (verb === "show") return this.rules.has(name) ? DONE : FAILED;
    this.told.push(words.replace(/ dir=.*/, ""));
    if (verb === "delete") return this.rules.delete(name) ? DONE : FAILED;
    this.rules.add(name);
    return DONE;
  }

  #powershell(words: string, input: string): CommandAnswer {
    if (words.includes("Get-NetFirewallProfile")) {
      return { ...DONE, stdout: JSON.stringify(this.profiles) };
    }
    const { comment, servers } = JSON.parse(input);
    const isAdding = words.includes("Add-DnsClientNrptRule");
    // As the scripts do: nothing where it is so already.
    if (isAdding === this.names.has(comment)) return DONE;
    this.told.push(`names ${isAdding ? servers.join() : "back"}`);
    if (isAdding) this.names.set(comment, servers);
    else this.names.delete(comment);
    return DONE;
  }

  #interfaces(): string {
    const rows = ["  1  75  4294967295  connected  Loopback Pseudo-Interface 1"];
    rows.push(" 12  25  1500  connected  Ethernet");
    if (this.hasTunnel) rows.push(" 21  5  1400  connected  tunnelmesh");
    return rows.join("\r\n");
  }

  #listing(family: string): string {
    const rows = family === "ipv4"
      ? [`No Manual 0 0.0.0.0/0 12 ${this.gateway}`, "No System 256 192.168.1.0/24 12 Ethernet"]
      : ["No Manual 0 ::/0 12 fe80::1"];
    const names: Record<string, string> = { 1: "Loopback", 12: "Ethernet", 21: "tunnelmesh" };
    for (const [key, way] of this.routes) {
      const [of, prefix] = key.split(" "), [index, gateway] = way.split(" ");
      const end = gateway === "-" ? names[index!] : gateway;
      if (of === family) rows.push(`No Manual 0 ${prefix} ${index} ${end}`);
    }
    return rows.join("\r\n");
  }
}
