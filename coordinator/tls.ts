/**
 * The mesh's certificates: who signs what, and where the files are.
 *
 * ```
 * root            pinned by every join token; 10 years
 *  ├─ server      a coordinator's: this.tunnelmesh and its public names; 1 year, renewed at start;
 *  │              further coordinators get theirs when their nodes register
 *  └─ nodes CA    may only speak for the mesh's domains and addresses; 10 years
 *      └─ node    NAME.tunnelmesh, .mesh, .tm and its mesh addresses; 1 year
 * ```
 *
 * The constraint is on the intermediate, because the coordinator itself is reached by names and
 * addresses outside the mesh. A node's certificate cannot pass for a coordinator's: no node is
 * called `this`, and nodes take only a server whose certificate the root itself signed. All keys are P-256, the curve that browsers take too. Certificates are valid from a
 * day before they are made, so that a machine whose clock is behind still joins.
 * @module
 */
import "reflect-metadata";
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import * as x509 from "@peculiar/x509";
import { fromBase64, toHex } from "../core/bytes.ts";
import { errorMessage, MeshError } from "../core/errors.ts";
import { SUFFIXES } from "../core/ids.ts";
import { canonicalIp, parseIp, parsePrefix, type Prefix, prefixContains } from "../core/ip.ts";
import type { State } from "./model/state.ts";
import { encodePermitted, NAME_CONSTRAINTS_OID } from "./name_constraints.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
/** A server certificate that ends sooner is made anew. */
const RENEW_MS = 90 * DAY_MS;
/** Before this no clock that was ever set can be. */
const CLOCK_IS_SET_AFTER = Date.UTC(2025, 0);

x509.cryptoProvider.set(crypto);

/** A certificate and its private key, in PEM. */
export interface PemPair {
  readonly certificate: string;
  readonly key: string;
}

interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly key: CryptoKey;
}

/** What of a node goes into its certificate. */
export interface CertificateSubject {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly addresses: readonly string[];
}

/** The mesh's certificate authorities, kept as files in the coordinator's data directory. */
export class MeshCa {
  readonly #dataDir: string;
  readonly #root: Authority;
  readonly #nodes: Authority;
  /** What nodes' certificates speak for. */
  readonly #prefixes: readonly Prefix[];

  private constructor(
    dataDir: string,
    { root, nodes }: { readonly root: Authority; readonly nodes: Authority },
    prefixes: readonly Prefix[],
  ) {
    this.#dataDir = dataDir;
    this.#prefixes = prefixes;
    this.#root = root;
    this.#nodes = nodes;
  }

  /**
   * Opens the authorities of `dataDir`, making them for a mesh that `isEmpty`. In any other mesh a
   * new root would lock out every node, since each pins the old one.
   * @throws {MeshError} `state-invalid`
   */
  static async open(
    dataDir: string,
    mesh: Pick<State, "meshId" | "cidr4" | "prefix6">,
    { now, isEmpty }: { readonly now: number; readonly isEmpty: boolean },
  ): Promise<MeshCa> {
    const name = `CN=TunnelMesh CA ${mesh.meshId.slice(0, 8)}`;
    const kept = await load(dataDir, "ca");
    if (!kept && !isEmpty) {
      throw new MeshError("state-invalid", `Cannot open the mesh's CA: ${dataDir}/ca.crt is gone`, {
        hint: "Restore ca.crt and ca.key from a backup; the nodes trust no other CA",
      });
    }
    const root = kept ?? await createRoot(dataDir, name, now);
    const nodes = await load(dataDir, "nodes-ca") ?? await createNodesCa(dataDir, root, mesh, now);
    const prefixes = [mesh.cidr4, mesh.prefix6].flatMap((text) => parsePrefix(text) ?? []);
    return new MeshCa(dataDir, { root, nodes }, prefixes);
  }

  /** PEM of the root. */
  get certificate(): string {
    return this.#root.certificate.toString("pem") + "\n";
  }

  /** SHA-256 of the root, what join tokens pin. */
  get pin(): Uint8Array {
    return createHash("sha256").update(new Uint8Array(this.#root.certificate.rawData)).digest();
  }

  /** The coordinator's own certificate for `hosts`, kept while it is good for them. */
  async server(hosts: readonly string[], now: number): Promise<PemPair> {
    const names = serverNames(hosts);
    const kept = await load(this.#dataDir, "tls");
    if (kept && await isGoodFor(kept.certificate, this.#root.certificate, names, now)) {
      return await pemPair(kept);
    }
    const keys = await generateKeys();
    const certificate = await this.#certifyServer(names, keys.publicKey, now);
    return await pemPair(await save(this.#dataDir, "tls", { certificate, key: keys.privateKey }));
  }

  /**
   * A certificate for the server of a further coordinator, reached by `hosts`.
   *
   * @param publicKey base64 of a P-256 SubjectPublicKeyInfo.
   * @throws {MeshError} `key-invalid`; `forbidden` for names and addresses of nodes.
   */
  async certifyCoordinator(
    hosts: readonly string[],
    publicKey: string,
    now: number,
  ): Promise<string> {
    const nodes = hosts.find((host) => this.#isNodes(host));
    if (nodes !== undefined) {
      const text = `Cannot certify a coordinator as "${nodes}": that is a node's`;
      throw new MeshError("forbidden", text, { hint: "Name the machine outside of the mesh" });
    }
    const key = await importPublicKey(publicKey);
    return (await this.#certifyServer(serverNames(hosts), key, now)).toString("pem") + "\n";
  }

  #isNodes(host: string): boolean {
    const name = host.toLowerCase().replace(/\.$/, "");
    const ip = parseIp(canonicalIp(host) ?? "");
    return SUFFIXES.some((suffix) => name === suffix || name.endsWith(`.${suffix}`)) ||
      ip !== null && this.#prefixes.some((prefix) => prefixContains(prefix, ip));
  }

  async #certifyServer(
    names: readonly string[],
    publicKey: CryptoKey,
    now: number,
  ): Promise<x509.X509Certificate> {
    return await x509.X509CertificateGenerator.create({
      ...frame("CN=TunnelMesh coordinator", now, YEAR_MS),
      issuer: this.#root.certificate.subject,
      publicKey,
      signingKey: this.#root.key,
      signingAlgorithm: ALGORITHM,
      extensions: [
        ...leafExtensions(names, [x509.ExtendedKeyUsage.serverAuth]),
        ...await keyIdentifiers(publicKey, this.#root.certificate),
      ],
    });
  }

  /**
   * A certificate for a node's own key, followed by the intermediate.
   *
   * @param publicKey base64 of a P-256 SubjectPublicKeyInfo.
   * @throws {MeshError} `key-invalid`
   */
  async issue(subject: CertificateSubject, publicKey: string, now: number): Promise<string> {
    const key = await importPublicKey(publicKey);
    const labels = [...new Set([subject.name, ...subject.aliases])];
    const names = [
      ...labels.flatMap((label) => SUFFIXES.map((suffix) => `${label}.${suffix}`)),
      ...subject.addresses,
    ];
    const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
    const certificate = await x509.X509CertificateGenerator.create({
      // The bare label: a common name has at most 64 characters (RFC 5280 appendix A.1).
      ...frame(`CN=${subject.name}`, now, YEAR_MS),
      issuer: this.#nodes.certificate.subject,
      publicKey: key,
      signingKey: this.#nodes.key,
      signingAlgorithm: ALGORITHM,
      extensions: [
        ...leafExtensions(names, [serverAuth, clientAuth]),
        ...await keyIdentifiers(key, this.#nodes.certificate),
      ],
    });
    const chain = [certificate, this.#nodes.certificate];
    return chain.map((each) => each.toString("pem") + "\n").join("");
  }
}

/** What a coordinator's certificate is good for: reached by `hosts`, it proves that it is one. */
function serverNames(hosts: readonly string[]): string[] {
  return [...new Set([...SUFFIXES.map((suffix) => `this.${suffix}`), ...hosts])];
}

/** @throws {MeshError} `key-invalid` */
async function importPublicKey(text: string): Promise<CryptoKey> {
  try {
    const spki = fromBase64(text) as Uint8Array<ArrayBuffer>;
    return await crypto.subtle.importKey("spki", spki, ALGORITHM, true, ["verify"]);
  } catch (cause) {
    throw new MeshError("key-invalid", "Cannot certify the TLS key: it is no P-256 key", { cause });
  }
}

/** Reads a certificate that the operator brings. @throws {MeshError} `config-invalid` */
export function readCertificate(files: { certFile: string; keyFile: string }): PemPair {
  const { certFile, keyFile } = files;
  try {
    const pem = { certificate: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
    if (new X509Certificate(pem.certificate).checkPrivateKey(createPrivateKey(pem.key))) return pem;
  } catch (cause) {
    const message = `Cannot use "${certFile}" and "${keyFile}": ${errorMessage(cause)}`;
    throw new MeshError("config-invalid", message, {
      cause,
      hint: "Name readable PEM files: the certificate with its chain, and its private key",
    });
  }
  throw new MeshError(
    "config-invalid",
    `Cannot use "${certFile}": "${keyFile}" does not belong to it`,
  );
}

async function createRoot(dataDir: string, name: string, now: number): Promise<Authority> {
  if (now < CLOCK_IS_SET_AFTER) {
    const clock = new Date(now).toISOString();
    throw new MeshError("state-invalid", `Cannot make the mesh's CA: the clock says ${clock}`, {
      hint: "Set the clock; certificates made before that would not hold",
    });
  }
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    ...frame(name, now, 10 * YEAR_MS),
    issuer: name,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [...caExtensions(1), ...await keyIdentifiers(keys.publicKey, null)],
  });
  return await save(dataDir, "ca", { certificate, key: keys.privateKey });
}

async function createNodesCa(
  dataDir: string,
  root: Authority,
  mesh: { readonly cidr4: string; readonly prefix6: string },
  now: number,
): Promise<Authority> {
  const keys = await generateKeys();
  const prefixes = [mesh.cidr4, mesh.prefix6].flatMap((text) => parsePrefix(text) ?? []);
  const permitted = encodePermitted(SUFFIXES, prefixes) as Uint8Array<ArrayBuffer>;
  const certificate = await x509.X509CertificateGenerator.create({
    ...frame("CN=TunnelMesh nodes CA", now, 10 * YEAR_MS),
    issuer: root.certificate.subject,
    publicKey: keys.publicKey,
    signingKey: root.key,
    signingAlgorithm: ALGORITHM,
    extensions: [
      ...caExtensions(0),
      ...await keyIdentifiers(keys.publicKey, root.certificate),
      new x509.Extension(NAME_CONSTRAINTS_OID, true, permitted),
    ],
  });
  return await save(dataDir, "nodes-ca", { certificate, key: keys.privateKey });
}

function frame(subject: string, now: number, life: number) {
  // A positive number of 16 bytes (RFC 5280 section 4.1.2.2).
  const serial = crypto.getRandomValues(new Uint8Array(16));
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return {
    serialNumber: toHex(serial),
    subject,
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + life),
  };
}

function caExtensions(pathLength: number): x509.Extension[] {
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags;
  return [
    new x509.BasicConstraintsExtension(true, pathLength, true),
    new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
  ];
}

function leafExtensions(names: readonly string[], usages: string[]): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(usages),
    new x509.SubjectAlternativeNameExtension(names.map((name): x509.JsonGeneralName => {
      const ip = canonicalIp(name);
      return ip ? { type: "ip", value: ip } : { type: "dns", value: name };
    })),
  ];
}

/** By these a verifier finds the issuer without trying every key (RFC 5280 section 4.2.1.1). */
async function keyIdentifiers(
  key: CryptoKey,
  issuer: x509.X509Certificate | null,
): Promise<x509.Extension[]> {
  const own = await x509.SubjectKeyIdentifierExtension.create(key);
  if (!issuer) return [own];
  return [own, await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)];
}

async function generateKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair;
}

async function isGoodFor(
  certificate: x509.X509Certificate,
  root: x509.X509Certificate,
  names: readonly string[],
  now: number,
): Promise<boolean> {
  if (!await certificate.verify({ publicKey: root.publicKey, signatureOnly: true })) return false;
  const extension = certificate.getExtension(x509.SubjectAlternativeNameExtension);
  const held = extension?.names.items.map(({ value }) => canonicalIp(value) ?? value) ?? [];
  return certificate.notAfter.getTime() - now > RENEW_MS &&
    certificate.notBefore.getTime() <= now &&
    names.every((name) => held.includes(canonicalIp(name) ?? name));
}

async function load(dataDir: string, name: string): Promise<Authority | null> {
  const path = `${dataDir}/${name}`;
  try {
    statSync(`${path}.crt`);
    statSync(`${path}.key`);
  } catch {
    return null;
  }
  try {
    const certificate = new x509.X509Certificate(readFileSync(`${path}.crt`, "utf8"));
    const der = x509.PemConverter.decode(readFileSync(`${path}.key`, "utf8"))[0]!;
    const key = await crypto.subtle.importKey("pkcs8", der, ALGORITHM, true, ["sign"]);
    return { certificate, key };
  } catch (cause) {
    throw new MeshError("state-invalid", `Cannot use "${path}.crt": ${errorMessage(cause)}`, {
      cause,
      hint: `Restore ${path}.crt and ${path}.key from a backup`,
    });
  }
}

/** The key first: a certificate without its key is never found. */
async function save(dataDir: string, name: string, authority: Authority): Promise<Authority> {
  const { certificate, key } = await pemPair(authority);
  writePrivate(`${dataDir}/${name}.key`, key);
  writePrivate(`${dataDir}/${name}.crt`, certificate);
  return authority;
}

function writePrivate(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

async function pemPair(authority: Authority): Promise<PemPair> {
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", authority.key);
  return {
    certificate: authority.certificate.toString("pem") + "\n",
    key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") + "\n",
  };
}
