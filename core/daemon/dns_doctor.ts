/**
 * Why do mesh names not resolve on this machine, and who broke it?
 *
 * Asks for this node's own name on every way that a program could: the resolver directly, then the
 * system's. Then looks at what lies between: resolv.conf, nsswitch.conf, systemd-resolved, the
 * upstream resolvers.
 * @module
 */
import { TYPE } from "../dns/message.ts";
import { decodeReply, encodeQuery } from "../dns/reply.ts";
import { SUFFIXES } from "../ids.ts";
import { canonicalIp, type Ip, parseEndpoint } from "../ip.ts";
import {
  findProgram,
  hasImmutableFlag,
  identifyWriter,
  isStub,
  outputOf,
  parseMarker,
  parseResolvConf,
  readText,
  RESOLV_CONF,
  RESOLVED_DIRECTORY,
  runProgram,
} from "../platform/linux/dns_inspect.ts";
import type { SystemDnsReport } from "../platform/types_dns.ts";
import type { DnsFinding } from "./api_types.ts";
import {
  closeAfter,
  type DnsUpstream,
  exchangeTcp,
  exchangeUdp,
  randomId,
} from "./dns_exchange.ts";
import type { DnsServer } from "./dns_server.ts";

const TIMEOUT_MS = 1_500;
const NSSWITCH = "/etc/nsswitch.conf";
const HOSTS = "/etc/hosts";

/** What is to be examined. */
export interface DnsDoctorOptions {
  /** This node's name without suffix; asked for as a canary. */
  readonly name: string;
  /** Its mesh addresses, the right answer. */
  readonly addresses: readonly Ip[];
  readonly interfaceName: string;
  /** The running resolver, or null when the configuration turns it off. */
  readonly server: Pick<DnsServer, "listening" | "failures"> | null;
  /** The system's settings as `SystemDns.report()` gives them, or null when they are left alone. */
  readonly system: SystemDnsReport | null;
  readonly paths?: DnsDoctorPaths;
}

/** Where the examined files are; tests give their own. */
export interface DnsDoctorPaths {
  readonly resolvConf?: string;
  readonly nsswitch?: string;
  readonly hosts?: string;
  readonly resolvedDirectory?: string;
  readonly searchPath?: string;
}

/**
 * Examines name resolution; takes up to a few seconds when something does not answer. Never throws.
 */
export async function examineDns(options: DnsDoctorOptions): Promise<DnsFinding[]> {
  const parts = await Promise.all([
    examineServer(options),
    examineSystemPath(options),
    examineResolvConf(options),
    examineNsswitch(options),
    examineResolved(options),
    examineUpstreams(options),
  ]);
  return parts.flat();
}

async function examineServer(options: DnsDoctorOptions): Promise<DnsFinding[]> {
  if (options.server === null) {
    return [warning("This node runs no resolver: dns.enabled is false in its configuration")];
  }
  const failures = options.server.failures.map(async ({ address, reason }) => {
    const holder = await portHolder(options.paths?.searchPath);
    return error(
      `The resolver cannot listen on ${address}: ${reason}`,
      holder,
      holder && `Stop ${holder}, or make it listen on its own addresses only`,
    );
  });
  const answers = options.server.listening.flatMap((endpoint) => {
    const server = parseEndpoint(endpoint)!;
    return [
      examineAnswer(options, server, "UDP"),
      examineAnswer(options, server, "TCP"),
    ];
  });
  return await Promise.all([...failures, ...answers]);
}

async function examineAnswer(
  options: DnsDoctorOptions,
  server: DnsUpstream,
  carrier: "UDP" | "TCP",
): Promise<DnsFinding> {
  const where = `${server.ip} port ${server.port} (${carrier})`;
  const type = options.addresses.some((ip) => !ip.includes(":")) ? TYPE.a : TYPE.aaaa;
  const reply = await ask(server, `${options.name}.${SUFFIXES[0]}`, type, carrier);
  if (reply === null) {
    return error(
      `The resolver does not answer on ${where}`,
      null,
      "A packet filter on this machine may drop packets to its own mesh address",
    );
  }
  const isRight = reply.answers.some((record) => options.addresses.includes(record.text));
  return isRight
    ? ok(`The resolver answers on ${where}`)
    : error(`The resolver on ${where} does not know this node's own name`, null, null);
}

async function examineSystemPath(options: DnsDoctorOptions): Promise<DnsFinding[]> {
  const getent = await findProgram("getent", options.paths?.searchPath);
  return await Promise.all(SUFFIXES.map(async (suffix) => {
    const name = `${options.name}.${suffix}`;
    const found = getent === null ? await resolve(name) : await getentAddresses(getent, name);
    if (found.some((ip) => options.addresses.includes(ip))) {
      return ok(`Programs on this machine find ${name}`);
    }
    if (found.length === 0) {
      return error(
        `Programs on this machine do not find ${name}`,
        null,
        "The other findings say where the way to the resolver is broken",
      );
    }
    const hosts = await readText(options.paths?.hosts ?? HOSTS) ?? "";
    const isInHosts = hosts.split("\n").some((line) =>
      line.replace(/#.*/, "").split(/\s+/).slice(1).includes(name)
    );
    return error(
      `Programs on this machine find ${name} at ${found.join(", ")}, which is not this node`,
      isInHosts ? HOSTS : null,
      isInHosts ? `Remove the line of ${name} from ${HOSTS}` : null,
    );
  }));
}

async function examineResolvConf(options: DnsDoctorOptions): Promise<DnsFinding[]> {
  const { system } = options;
  if (system === null) {
    return [warning("The system's resolver settings are left alone by configuration")];
  }
  const path = options.paths?.resolvConf ?? RESOLV_CONF;
  const text = await readText(path);
  const target = await Deno.readLink(path).catch(() => null);
  const writer = identifyWriter(text ?? "", target);
  const findings: DnsFinding[] = [];
  if (await hasImmutableFlag(path)) {
    findings.push(error(
      `${path} is marked immutable`,
      "chattr",
      `Allow changes with: chattr -i ${path}`,
    ));
  }
  if (system.problem !== null) findings.push(error(system.problem, writer, null));
  const last = system.repairs.at(-1);
  if (last) {
    const count = system.repairs.length;
    findings.push(warning(
      `The settings were changed by others ${count} time${count === 1 ? "" : "s"}, last ` +
        `${Math.round(last.ageMs / 1000)} s ago: ${last.what}`,
      /^(Another program|systemd-resolved had)/.test(last.what) ? null : last.what.split(" ")[0]!,
      count > 3 ? "Tell that program to leave the file alone" : null,
    ));
  }
  findings.push(judgeResolvConf(system, path, text, writer));
  return findings;
}

/** Whether resolv.conf says what the mode needs. */
function judgeResolvConf(
  system: SystemDnsReport,
  path: string,
  text: string | null,
  writer: string | null,
): DnsFinding {
  const by = writer === null ? "another program" : writer;
  if (text === null) return error(`${path} cannot be read`, null, null);
  const { nameservers } = parseResolvConf(text);
  switch (system.mode) {
    case "resolv.conf":
      return parseMarker(text) !== null
        ? ok(`${path} names this node's resolver`)
        : error(`${path} was overwritten by ${by}`, writer, REPAIR_HINT);
    case "resolved":
      return nameservers.length > 0 && nameservers.every(isStub)
        ? ok(`${path} leads to systemd-resolved, which sends mesh names to this node's resolver`)
        : error(`${path} does not lead to systemd-resolved: ${by} wrote it`, writer, REPAIR_HINT);
    case "shared":
      return ok(`${path} names another context's resolver, which asks this node's`);
    case "off":
      return error(
        `Mesh names do not reach this node's resolver: ${path} was written by ${by}`,
        writer,
        `Send the suffixes ${SUFFIXES.join(", ")} to this node's resolver by hand`,
      );
  }
}

const REPAIR_HINT = "It is put right within two seconds while the daemon runs; see its log if not";

async function examineNsswitch(options: DnsDoctorOptions): Promise<DnsFinding[]> {
  const path = options.paths?.nsswitch ?? NSSWITCH;
  const text = await readText(path);
  const line = text?.split("\n").map((one) => one.replace(/#.*/, "").trim())
    .find((one) => one.startsWith("hosts:"));
  // Without the line, or on musl without the file, libc asks DNS.
  if (line === undefined) return [];
  const services = line.slice("hosts:".length).trim();
  const asksDns = /\b(dns|resolve)\b/.test(services);
  if (!asksDns) {
    return [error(
      `${path} lets programs ask no DNS server: "${line}"`,
      path,
      "Add dns to the end of its hosts line",
    )];
  }
  const beforeDns = services.split(/\b(?:dns|resolve)\b/)[0]!;
  const stop = /(\S+)\s+\[\s*!?(NOTFOUND|UNAVAIL|SUCCESS)\s*=\s*return\s*\]/i.exec(beforeDns);
  if (stop !== null && /mdns(?!\S*minimal)/.test(stop[1]!)) {
    return [error(
      `${path} stops at ${stop[1]} before DNS is asked: "${line}"`,
      path,
      `Replace ${stop[1]} by mdns4_minimal, which stops for .local names only`,
    )];
  }
  if (stop !== null && !/mdns\d?_minimal/.test(stop[1]!) && /NOTFOUND/i.test(stop[2]!)) {
    return [error(
      `${path} stops at ${stop[1]} before DNS is asked: "${line}"`,
      path,
      `Remove ${stop[0].slice(stop[1]!.length).trim()} before dns`,
    )];
  }
  return [ok(`${path} lets programs ask DNS servers`)];
}

async function examineResolved(options: DnsDoctorOptions): Promise<DnsFinding[]> {
  if (options.system?.mode !== "resolved") return [];
  const resolvectl = await findProgram("resolvectl", options.paths?.searchPath);
  if (resolvectl === null) return [error("resolvectl is gone", "systemd-resolved", null)];
  const link = options.interfaceName;
  const result = await runProgram(resolvectl, ["domain", link]).catch(() => null);
  if (result?.code !== 0) {
    const directory = options.paths?.resolvedDirectory ?? RESOLVED_DIRECTORY;
    return [error(
      `systemd-resolved does not answer, though ${directory} exists`,
      "systemd-resolved",
      "Start it with: systemctl restart systemd-resolved",
    )];
  }
  const missing = SUFFIXES.filter((suffix) => !result.stdout.includes(`~${suffix}`));
  if (missing.length === 0) {
    return [ok(`systemd-resolved sends mesh names to ${link}`)];
  }
  return [error(
    `systemd-resolved does not send ${missing.map((suffix) => `.${suffix}`).join(", ")} to ${link}`,
    "systemd-resolved",
    `Set it with: resolvectl domain ${link} ${SUFFIXES.map((name) => `'~${name}'`).join(" ")}`,
  )];
}

async function examineUpstreams(options: DnsDoctorOptions): Promise<DnsFinding[]> {
  if (options.system === null) return [];
  if (options.system.upstreams.length === 0 && options.system.mode === "resolv.conf") {
    return [warning(
      "No upstream resolver is known, so only mesh names resolve",
      null,
      "The former resolv.conf named none; connect to a network or add a nameserver line to it",
    )];
  }
  return await Promise.all(options.system.upstreams.map(async (ip) => {
    const reply = await ask({ ip, port: 53 }, "", TYPE.ns, "UDP");
    return reply === null
      ? warning(`The upstream resolver ${ip} does not answer`, null, "Check that network's DNS")
      : ok(`The upstream resolver ${ip} answers`);
  }));
}

async function ask(server: DnsUpstream, name: string, type: number, carrier: "UDP" | "TCP") {
  const message = encodeQuery(randomId(), name, type);
  const questionEnd = message.length - 11;
  const exchange = carrier === "UDP" ? exchangeUdp : exchangeTcp;
  const reply = await exchange(server, { message, questionEnd }, closeAfter(TIMEOUT_MS));
  return reply && decodeReply(reply);
}

async function getentAddresses(getent: string, name: string): Promise<Ip[]> {
  const result = await runProgram(getent, ["ahosts", name], 6_000).catch(() => null);
  const words = result?.stdout.split("\n").map((line) => line.split(/\s+/)[0]!) ?? [];
  return [...new Set(words.map(canonicalIp).filter((ip) => ip !== null))];
}

async function resolve(name: string): Promise<Ip[]> {
  const types = ["A", "AAAA"] as const;
  const found = await Promise.all(types.map((type) => Deno.resolveDns(name, type).catch(() => [])));
  return found.flat();
}

/** The program that holds port 53 on some address, or null when it cannot be told. */
async function portHolder(searchPath?: string): Promise<string | null> {
  const text = await outputOf("ss", ["-Hlnup", "sport = :53"], searchPath);
  const programs = [...(text ?? "").matchAll(/\(\("([^"]+)",pid=(\d+)/g)]
    .filter((match) => Number(match[2]) !== Deno.pid).map((match) => match[1]!);
  return [...new Set(programs)].join(", ") || null;
}

function ok(what: string): DnsFinding {
  return { level: "ok", what, culprit: null, hint: null };
}

function warning(what: string, culprit: string | null = null, hint: string | null = null) {
  return { level: "warning", what, culprit, hint } as const;
}

function error(what: string, culprit: string | null, hint: string | null): DnsFinding {
  return { level: "error", what, culprit, hint };
}
