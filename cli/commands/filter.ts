/**
 * `tunnelmesh filter`: who may begin what at this node?
 * @module
 */
import { z } from "zod";
import { parseDuration } from "../../core/config/units.ts";
import { MeshError } from "../../core/errors.ts";
import { PROTOCOLS } from "../../core/filter/rules.ts";
import { parsePortRange, PORT_FORM, readSource } from "../../core/filter/written.ts";
import { formatSubject } from "../../core/policy/subject.ts";
import { type Command, defineCommand, defineGroup, type Permissions } from "../command.ts";
import { filterLines, ruleLine, traceLines } from "../filter_view.ts";

const PERMISSIONS: Permissions = { opens: ["$control"] };

/** What says which packets a rule is about. */
const about = {
  port: z.string().optional().meta({ description: "Port or ports", placeholder: "PORT[-PORT]" })
    .refine((text) => text === undefined || parsePortRange(text) !== null, { error: PORT_FORM }),
  protocol: z.enum(PROTOCOLS).optional().meta({
    description: "Protocol; without it a port is one of TCP and of UDP",
  }),
  sourcePeer: z.string().optional().meta({
    description: "Whose packets: those of a peer",
    placeholder: "PEER",
    completes: "peers",
  }),
  sourceGroup: z.string().optional().meta({
    description: "Those of a group's members",
    placeholder: "GROUP",
  }),
  sourceTag: z.string().optional().meta({
    description: "Those of nodes that carry a tag",
    placeholder: "TAG",
  }),
  from: z.string().optional().meta({
    description: "Those of a subject of the policy, e.g. user:anna; without any: everyone's",
    placeholder: "SUBJECT",
  }),
};

const list = defineCommand({
  name: "list",
  aliases: ["ls"],
  summary: "List the packet filter's rules, of all layers",
  description:
    "Layers are coordinator (the policy of the mesh), config (this node's file), temporary " +
    "(filter add) and service (what this node serves itself). HITS are packets that the rule " +
    "decided of; answers to what this node sent need no rule and are not counted.",
  examples: [
    { command: "tunnelmesh filter list", meaning: "Rules, hits, and where each is written" },
    {
      command: "tunnelmesh filter list --json | jq '.rules[] | select(.hits == 0) | .where'",
      meaning: "Where rules are that nothing has met",
    },
  ],
  permissions: PERMISSIONS,
  async run(_input, { out, daemon }) {
    using client = await daemon();
    const report = await client.filter();
    out.document(report, () => filterLines(report, out));
  },
});

const add = defineCommand({
  name: "add",
  summary: "Add a temporary rule",
  description:
    "It holds until it is removed, expires, or the daemon starts again, and it takes effect on " +
    "connections that are open too. It can open what no rule denies and deny what others allow. " +
    "What should last belongs into the configuration, under filter.rules, or into the policy.",
  examples: [
    {
      command: "tunnelmesh filter add --port 22 --protocol tcp --source-peer laptop --ttl 1h",
      meaning: "SSH from laptop, for an hour",
    },
    {
      command: "tunnelmesh filter add --port 8000-8010 --from group:dev",
      meaning: "Ten ports, TCP and UDP, for a group",
    },
    {
      command: "tunnelmesh filter add --action deny --protocol any --source-peer old-phone",
      meaning: "Nothing more from one node, answers included",
    },
  ],
  input: z.strictObject({
    ...about,
    action: z.enum(["allow", "deny"]).default("allow").meta({ description: "Verdict" }),
    ttl: z.string().optional().meta({
      description: "How long it holds, e.g. 30m, 8h, 7d, or seconds; 0 is without end",
      placeholder: "TIME",
    }).refine((text) => text === undefined || ttlOf(text) !== null, {
      error: "must be a time from 1s to 366d, such as 30m, 8h or 7d, or 0",
    }),
    comment: z.string().max(200).optional().meta({ description: "What it is for" }),
  }),
  permissions: PERMISSIONS,
  async run({ action, ttl, comment, ...input }, { out, daemon }) {
    const { port, protocol } = input;
    if (port === undefined && protocol === undefined) {
      throw new MeshError(
        "usage",
        "Cannot add a rule about everything: give --port or --protocol",
        {
          hint: "--protocol any is everything",
        },
      );
    }
    if (port !== undefined && protocol === "icmp") {
      throw new MeshError("usage", "Cannot add the rule: ICMP has no ports");
    }
    const ttlMs = ttlOf(ttl ?? "0")!;
    using client = await daemon();
    const rule = await client.addFilterRule({
      action,
      protocol: protocol ?? "any",
      from: sourceOf(input) ?? "everyone",
      comment: comment ?? "",
      ...(port === undefined ? {} : { ports: port }),
      ...(ttlMs === 0 ? {} : { ttlMs }),
    });
    out.document(rule, () => [`Added ${ruleLine(rule)}`]);
    if (rule.peers === 0) out.warning(`No node of the mesh is ${rule.from} at present`);
  },
});

const remove = defineCommand({
  name: "remove",
  aliases: ["rm", "delete"],
  summary: "Remove temporary rules",
  description: "By id, or all that are like the options.",
  examples: [
    { command: "tunnelmesh filter remove t3", meaning: "The one with that id" },
    { command: "tunnelmesh filter remove --port 22", meaning: "All about that port" },
    {
      command: "tunnelmesh filter remove --source-peer old-phone",
      meaning: "All about one peer's packets",
    },
  ],
  input: z.strictObject({
    id: z.string().optional().meta({ positional: 0, description: "Id, as the list shows it" }),
    ...about,
  }),
  permissions: PERMISSIONS,
  async run({ id, port, protocol, ...input }, { out, daemon }) {
    const from = sourceOf(input);
    if ([id, port, protocol, from].every((each) => each === undefined)) {
      throw new MeshError("usage", "Cannot remove a rule: give its id, or say what it is like", {
        hint: "`tunnelmesh filter list` shows the ids",
      });
    }
    using client = await daemon();
    const removed = await client.removeFilterRules({
      ...(id === undefined ? {} : { id }),
      ...(port === undefined ? {} : { ports: port }),
      ...(protocol === undefined ? {} : { protocol }),
      ...(from === undefined ? {} : { from }),
    });
    out.document(removed, () => removed.map((rule) => `Removed ${ruleLine(rule)}`));
  },
});

const trace = defineCommand({
  name: "trace",
  summary: "Say what would become of a packet, and by which rule",
  description:
    "Asks the table that the packet workers read, about a packet that begins something here. " +
    "Rules that match too are shown: those that say the same, and those that were overruled.",
  examples: [
    { command: "tunnelmesh filter trace laptop 443", meaning: "May laptop open HTTPS here?" },
    { command: "tunnelmesh filter trace laptop udp/53", meaning: "May it ask for names?" },
    { command: 'tunnelmesh filter trace "laptop -> nas:ping"', meaning: "The same, at node nas" },
  ],
  input: z.strictObject({
    from: z.string().min(1).meta({
      positional: 0,
      description: "The peer that sends, or `A -> B:PORT` where B is this node",
      completes: "peers",
    }),
    port: z.string().optional().meta({
      positional: 1,
      description: "443 (TCP), tcp/443, udp/53, ping, icmp or a service",
    }),
  }),
  permissions: PERMISSIONS,
  async run({ from, port }, { out, daemon }) {
    using client = await daemon();
    const question = port === undefined ? parseArrow(from) : { from, port, to: null };
    if (question.to !== null) {
      const { name, id, addresses } = await client.status();
      const plain = question.to.toLowerCase().replace(/\.(tunnelmesh|mesh|tm)$/, "");
      if (![name, id, "this", ...addresses].includes(plain)) {
        throw new MeshError("usage", `Cannot trace at "${question.to}": this node is "${name}"`, {
          hint: `Run the command on ${question.to}`,
        });
      }
    }
    const found = await client.traceFilter({ from: question.from, port: question.port });
    out.document(found, () => traceLines(found, out));
  },
});

export const filter: Command = defineGroup({
  name: "filter",
  summary: "Show and change who may begin what at this node",
  subcommands: [list, add, remove, trace],
});

/** Milliseconds of `8h` or of seconds, 0 for no end; null when it is neither, or out of bounds. */
function ttlOf(text: string): number | null {
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : parseDuration(text);
  const isFine = ms !== null && (ms === 0 || (ms >= 1000 && ms <= 366 * 86_400_000));
  return isFine ? ms : null;
}

interface SourceOptions {
  readonly sourcePeer?: string | undefined;
  readonly sourceGroup?: string | undefined;
  readonly sourceTag?: string | undefined;
  readonly from?: string | undefined;
}

/** The subject that options name; undefined when none does. */
function sourceOf(options: SourceOptions): string | undefined {
  const { sourcePeer, sourceGroup, sourceTag, from } = options;
  if ([sourcePeer, sourceGroup, sourceTag, from].every((each) => each === undefined)) {
    return undefined;
  }
  const source = readSource({
    source_peer: sourcePeer,
    source_group: sourceGroup,
    source_tag: sourceTag,
    from,
  });
  if (!("problem" in source)) return formatSubject(source);
  const option = (field: string) => `--${field.replace("_", "-")}`;
  const problem = source.problem.replace(/source_[a-z]+|\bfrom\b/, option);
  throw new MeshError("usage", `Cannot use ${option(source.field)}: it ${problem}`);
}

/** Reads `A -> B:PORT`. */
function parseArrow(text: string): { from: string; to: string; port: string } {
  const match = /^\s*(\S+)\s*->\s*(\S+):([^:\s]+)\s*$/.exec(text);
  if (match) return { from: match[1]!, to: match[2]!, port: match[3]! };
  throw new MeshError("usage", "Cannot trace: no port is given", {
    hint: 'Write `filter trace PEER PORT`, or `filter trace "PEER -> this:PORT"`',
  });
}
