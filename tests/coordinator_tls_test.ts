/**
 * Who can pass for a coordinator, and what its certificates are good for: real TLS on loopback.
 * @module
 */
import "reflect-metadata";
import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import * as x509 from "@peculiar/x509";
import { createCoordinator } from "../coordinator/mod.ts";
import { MeshCa } from "../coordinator/tls.ts";
import { toBase64 } from "../core/bytes.ts";
import { meshAddress6, meshPrefix6 } from "../core/control/addressing.ts";
import { fetchPinnedCa, request, tlsOptions } from "../core/daemon/tls_pin.ts";
import { decodeToken, pinsCa } from "../core/identity/token.ts";
import { refused, TestNode, TestServer } from "./coordinator_server.ts";
import { EPOCH, identityOf } from "./mesh_fixture.ts";

const DAY_MS = 86_400_000;
const MESH_ID = "00112233445566778899aabbccddeeff";
const MESH = { meshId: MESH_ID, cidr4: "172.30.0.0/16", prefix6: meshPrefix6(MESH_ID) };
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const SUBJECT = {
  name: "a",
  aliases: ["www"],
  addresses: ["172.30.0.7", meshAddress6(MESH.prefix6, identityOf(0).peerId)],
};

function tlsTest(name: string, run: (dir: string) => Promise<void>): void {
  Deno.test({
    name: `certificates: ${name}`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const dir = await Deno.makeTempDir();
      try {
        await run(dir);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}

async function openCa(dir: string, now = Date.now()): Promise<MeshCa> {
  return await MeshCa.open(dir, MESH, { now, isEmpty: true });
}

async function keyPair(): Promise<{ pair: CryptoKeyPair; spki: string; pem: string }> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, true, [
    "sign",
    "verify",
  ]) as CryptoKeyPair;
  const spki = toBase64(new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey)));
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
  return { pair, spki, pem: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") };
}

/** Serves `body` on loopback with a certificate; calls `run` with its URL. */
async function serving(
  cert: string,
  key: string,
  run: (url: string) => Promise<void>,
  body = "",
): Promise<void> {
  const server = https.createServer({ cert, key }, (_request, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await run(`https://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

function get(url: string, ca: string) {
  return request(url, { method: "GET", tls: tlsOptions(ca) });
}

/** A certificate signed with the key of the nodes' CA, as a thief of that key could make it. */
async function forgeByNodesCa(dir: string, names: string[], publicKey: CryptoKey): Promise<string> {
  const issuer = new x509.X509Certificate(readFileSync(`${dir}/nodes-ca.crt`, "utf8"));
  const der = x509.PemConverter.decode(readFileSync(`${dir}/nodes-ca.key`, "utf8"))[0]!;
  const signingKey = await crypto.subtle.importKey("pkcs8", der, ALGORITHM, true, ["sign"]);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: "01",
    subject: "CN=forged",
    issuer: issuer.subject,
    publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    extensions: [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value): x509.JsonGeneralName => ({
          type: /^[\d.]+$/.test(value) ? "ip" : "dns",
          value,
        })),
      ),
    ],
  });
  return certificate.toString("pem") + "\n" + issuer.toString("pem") + "\n";
}

tlsTest("a coordinator is trusted by its mesh's CA alone, under any name", async (dir) => {
  const ca = await openCa(`${dir}`);
  const { certificate, key } = await ca.server(["coordinator.example"], Date.now());
  await serving(certificate, key, async (url) => {
    assert.equal((await get(url, ca.certificate)).status, 200);
    await Deno.mkdir(`${dir}/other`);
    const other = await openCa(`${dir}/other`);
    await refused(get(url, other.certificate), "coordinator-untrusted");
  });
});

tlsTest(
  "a further coordinator is trusted by its mesh's CA, but is no CA and no node",
  async (dir) => {
    const ca = await openCa(dir);
    const { spki, pem } = await keyPair();
    const hosts = ["second.example", "192.0.2.2"];
    const certificate = await ca.certifyCoordinator(hosts, spki, Date.now());
    await serving(certificate, pem, async (url) => {
      assert.equal((await get(url, ca.certificate)).status, 200);
    });
    const { ca: isCa, subjectAltName } = new X509Certificate(certificate);
    assert.equal(isCa, false);
    for (const host of hosts) assert.ok(subjectAltName?.includes(host));
    for (const node of ["nas.tunnelmesh", "NAS.Mesh.", "tm", "172.30.0.7", SUBJECT.addresses[1]!]) {
      const made = ca.certifyCoordinator(["second.example", node], spki, Date.now());
      await refused(made, "forbidden");
    }
    await refused(ca.certifyCoordinator(hosts, "AAAA", Date.now()), "key-invalid");
  },
);

tlsTest("a node's certificate does not pass for a coordinator's", async (dir) => {
  const ca = await openCa(dir);
  const { pair, spki, pem } = await keyPair();
  const node = await ca.issue(SUBJECT, spki, Date.now());
  await serving(node, pem, async (url) => {
    await refused(get(url, ca.certificate), "coordinator-untrusted");
  });
  const names = ["this.tunnelmesh", "127.0.0.1"];
  for (const chosen of [names, names.slice(0, 1)]) {
    const forged = await forgeByNodesCa(dir, chosen, pair.publicKey);
    await serving(forged, pem, async (url) => {
      await refused(get(url, ca.certificate), "coordinator-untrusted");
    });
  }
});

tlsTest("the nodes' CA may not speak for names outside the mesh", async (dir) => {
  const ca = await openCa(dir);
  const { pair, spki, pem } = await keyPair();
  const status = (url: string, servername: string) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const options = { ca: ca.certificate, servername, agent: false };
    https.get(url, options, (response) => resolve(String(response.statusCode)))
      .on("error", (error) => resolve(error.message));
    return promise;
  };
  await serving(await ca.issue(SUBJECT, spki, Date.now()), pem, async (url) => {
    for (const name of ["a.mesh", "a.tm", "www.tunnelmesh"]) {
      assert.equal(await status(url, name), "200", name);
    }
  });
  const forged = await forgeByNodesCa(dir, ["bank.example"], pair.publicKey);
  await serving(forged, pem, async (url) => {
    assert.match(await status(url, "bank.example"), /verify|constraint|violation/i);
  });
});

tlsTest("fetching the CA fails for another pin, and believes nothing beside it", async (dir) => {
  const ca = await openCa(dir);
  await Deno.mkdir(`${dir}/evil`);
  const evil = await openCa(`${dir}/evil`);
  const { certificate, key } = await evil.server([], Date.now());
  await serving(certificate, key, async (url) => {
    const error = await refused(fetchPinnedCa(url, ca.pin), "coordinator-untrusted");
    assert.match(error.message, /not the one that the token names/);
  }, evil.certificate);
  await serving(certificate, key, async (url) => {
    const trusted = await fetchPinnedCa(url, ca.pin);
    assert.equal(trusted.trim(), ca.certificate.trim());
    await refused(get(url, trusted), "coordinator-untrusted");
  }, `${ca.certificate}${evil.certificate}`);
  await serving(certificate, key, async (url) => {
    await refused(fetchPinnedCa(url, ca.pin), "coordinator-untrusted");
  }, "no certificate");
});

tlsTest("certificates hold for a clock that is an hour off, either way", async (dir) => {
  const ca = await openCa(dir);
  const { spki } = await keyPair();
  const { certificate } = await ca.server([], Date.now());
  const chain = (await ca.issue(SUBJECT, spki, Date.now())).split(
    /(?<=-----END CERTIFICATE-----\n)/,
  );
  assert.equal(chain.length, 2);
  for (const pem of [ca.certificate, certificate, ...chain]) {
    const { validFrom, validTo } = new X509Certificate(pem);
    assert.ok(Date.parse(validFrom) <= Date.now() - 23 * 3_600_000);
    assert.ok(Date.parse(validTo) >= Date.now() + 300 * DAY_MS);
  }
});

tlsTest(
  "the server's certificate is kept while it is good, and made anew otherwise",
  async (dir) => {
    const now = Date.now();
    const ca = await openCa(dir);
    const first = await ca.server(["a.example"], now);
    assert.deepEqual(await (await openCa(dir)).server(["a.example"], now), first);
    const second = await ca.server(["a.example", "192.0.2.1", "2001:db8::1"], now);
    assert.notEqual(second.certificate, first.certificate);
    const { subjectAltName } = new X509Certificate(second.certificate);
    for (const part of ["DNS:this.tm", "DNS:a.example", "IP Address:192.0.2.1"]) {
      assert.ok(subjectAltName?.includes(part), part);
    }
    const third = await ca.server(["a.example"], now + 300 * DAY_MS);
    assert.notEqual(third.certificate, second.certificate);
    await Deno.remove(`${dir}/ca.crt`);
    const fourth = await (await openCa(dir)).server(["a.example"], now + 300 * DAY_MS);
    assert.notEqual(fourth.certificate, third.certificate, "another root");
  },
);

tlsTest("keys are for their owner only", async (dir) => {
  const ca = await openCa(dir);
  await ca.server([], Date.now());
  for await (const { name } of Deno.readDir(dir)) {
    assert.equal((await Deno.stat(`${dir}/${name}`)).mode! & 0o777, 0o600, name);
  }
});

tlsTest(
  "a CA is not made with an unset clock, nor a second time for a mesh that has one",
  async (dir) => {
    const error = await refused(openCa(dir, 3_600_000), "state-invalid");
    assert.match(error.message, /1970-01-01/);
    const options = { now: EPOCH + 365 * 2 * DAY_MS, isEmpty: false };
    await refused(MeshCa.open(dir, MESH, options), "state-invalid");
  },
);

tlsTest("a key that is not P-256 gets no certificate", async (dir) => {
  const ca = await openCa(dir);
  for (const key of ["", "AAAA", "!"]) {
    await refused(ca.issue(SUBJECT, key, Date.now()), "key-invalid");
  }
});

tlsTest("a node gets a certificate for its own key and names when it registers", async () => {
  await using server = await TestServer.start();
  const { reply } = await server.register(identityOf(0), {
    token: await server.token(),
    name: "web",
  });
  const leaf = new X509Certificate(reply.certificate!);
  const keyFile = `${server.dir}/${identityOf(0).peerId}/tls/key.pem`;
  assert.match(leaf.subjectAltName!, /DNS:web\.tunnelmesh, DNS:web\.mesh, DNS:web\.tm/);
  assert.ok(leaf.subjectAltName!.includes(`IP Address:${reply.addresses[0]}`));
  assert.equal(leaf.subject, "CN=web");
  assert.ok(leaf.checkPrivateKey(createPrivateKey(readFileSync(keyFile, "utf8"))));
});

tlsTest(
  "a given certificate is served, its tokens pin nothing, and nodes check the host",
  async (dir) => {
    const outside = await openCa(dir);
    const { certificate, key } = await outside.server(["127.0.0.1"], Date.now());
    const [certFile, keyFile] = [`${dir}/given.crt`, `${dir}/given.key`];
    await Deno.writeTextFile(certFile, certificate);
    await Deno.writeTextFile(keyFile, key);
    await using server = await TestServer.startNew({ certificate: { certFile, keyFile } });
    const token = server.coordinator.firstToken("node")!;
    assert.equal(pinsCa(decodeToken(token)), false);
    const answer = await get(`${server.url}/health`, outside.certificate);
    assert.equal(answer.status, 200);
    const tls = tlsOptions(null);
    await refused(
      request(`${server.url}/health`, { method: "GET", tls }),
      "coordinator-untrusted",
    );
    await using node = new TestNode(identityOf(0), {
      reply: {
        id: identityOf(0).peerId,
        name: "a",
        aliases: [],
        addresses: ["172.30.0.1", "fd00::1"],
        ...MESH,
        isAdmin: false,
        isCoordinator: false,
        recordSeq: -1,
        caCertificate: "",
        time: 0,
        coordinatorVersion: "",
      },
      caCertificate: null,
      log: null,
      url: server.url,
    });
    await node.until(() => node.client.report.lastError !== null, "refused by TLS");
    assert.match(node.client.report.lastError!, /certificate/);
  },
);

tlsTest("files that are no certificate are refused in words", async (dir) => {
  await Deno.writeTextFile(`${dir}/x`, "x");
  const start = (certFile: string, keyFile: string) =>
    createCoordinator({
      dataDir: `${dir}/data`,
      listen: { hostname: "127.0.0.1", port: 0 },
      publicHosts: [],
      version: "test",
      log: () => {},
      certificate: { certFile, keyFile },
    });
  await refused(start(`${dir}/x`, `${dir}/x`), "config-invalid");
  await refused(start(`${dir}/none`, `${dir}/none`), "config-invalid");
  const { certificate } = await (await openCa(dir)).server([], Date.now());
  await Deno.writeTextFile(`${dir}/one.crt`, certificate);
  await Deno.writeTextFile(`${dir}/other.key`, (await keyPair()).pem);
  const error = await refused(start(`${dir}/one.crt`, `${dir}/other.key`), "config-invalid");
  assert.match(error.message, /belong/);
});
