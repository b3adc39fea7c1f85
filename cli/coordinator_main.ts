/**
 * The coordinator's process: starts it, tells where it listens, ends it.
 * @module
 */
import { createLog } from "../core/daemon/log.ts";
import { formatEndpoint } from "../core/ip.ts";
import { FeedMessage } from "../core/control/feed.ts";
import { type Coordinator, createCoordinator } from "../coordinator/mod.ts";
import type { CoordinatorFacts } from "./coordinator_process.ts";
import { machineAddresses } from "./machine_addresses.ts";
import type { CoordinatorRunOptions } from "./run_options.ts";
import { untilSignal } from "./signals.ts";
import { TextLineStream } from "./text_lines.ts";
import { VERSION } from "./version.ts";

/** Runs a coordinator until a signal, or, started by `up`, until its standard input ends. */
export async function startCoordinator(
  options: CoordinatorRunOptions,
  isSupervised: boolean,
): Promise<void> {
  const { listen, dataDir, cidr4, certificate, logLevel, progress } = options;
  const { stunPort, stunAddress } = options;
  const publicHosts = options.publicHosts.length > 0 ? options.publicHosts : machineAddresses();
  const coordinator = await createCoordinator({
    dataDir,
    listen: { hostname: listen.host ?? "0.0.0.0", port: listen.port },
    publicHosts: [...new Set([...publicHosts, "localhost", "127.0.0.1"])],
    ...(cidr4 ? { cidr4 } : {}),
    ...(certificate
      ? { certificate: { certFile: certificate.certificatePath, keyFile: certificate.keyPath } }
      : {}),
    // Two, so that nodes learn what their NAT does.
    stunPorts: [stunPort, stunPort + 1],
    stunAddress,
    version: VERSION,
    log: createLog(logLevel),
  });
  const { port } = coordinator;
  const urls = publicHosts.map((host) => `https://${formatHost(host, port)}`);
  try {
    if (isSupervised) {
      const token = coordinator.firstToken("coordinator");
      const local = listen.host === null || listen.host === "0.0.0.0" ? "127.0.0.1" : listen.host;
      const localUrl = `https://${formatHost(local, port)}`;
      const facts: CoordinatorFacts = { urls, localUrl, token, head: coordinator.head };
      console.log(JSON.stringify(facts));
      await untilSignal(followInput(coordinator));
      return;
    }
    progress.listening(urls);
    const token = coordinator.firstToken("node");
    if (token !== null) progress.invitation(urls[0]!, token);
    await untilSignal(new Promise<never>(() => {}));
    progress.stopping("Stopping");
  } finally {
    await coordinator.close();
  }
}

function formatHost(host: string, port: number): string {
  return host.includes(":") ? formatEndpoint(host, port) : `${host}:${port}`;
}

/** Takes what the process that started this one tells, until it has no more to tell. */
async function followInput(coordinator: Coordinator): Promise<void> {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) coordinator.feed(FeedMessage.parse(JSON.parse(line)));
}
