/**
 * The rules that other programs keep on a machine, as their own tools load them.
 * @module
 */

/** Rules of one program. */
export interface Firewall {
  readonly name: string;
  /** `iptables-restore` or `ip6tables-restore` of one kind, each with its input. */
  readonly rules: readonly (readonly [program: string, input: string])[];
  /** Lets an exit's traffic pass, as its administrator would; null where nothing is in the way. */
  readonly chainToAllow: string | null;
}

/** As administrators write them by hand: closed for what comes in, open for what is forwarded. */
const BY_HAND = `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p udp -m udp --dport 51820 -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i tm0 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.77.0.0/16 -j MASQUERADE
COMMIT
`;

const BY_HAND6 = `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
COMMIT
`;

/** What dockerd 24 makes with one published port. */
const DOCKER = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`;

/** The shape of ufw's rules: its own chains, and policies that drop. */
function ufw(prefix: "ufw" | "ufw6", icmp: string): string {
  return `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:${prefix}-before-forward - [0:0]
:${prefix}-before-input - [0:0]
:${prefix}-user-forward - [0:0]
:${prefix}-user-input - [0:0]
-A INPUT -j ${prefix}-before-input
-A FORWARD -j ${prefix}-before-forward
-A ${prefix}-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ${prefix}-before-forward -j ${prefix}-user-forward
-A ${prefix}-before-input -i lo -j ACCEPT
-A ${prefix}-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ${prefix}-before-input -m conntrack --ctstate INVALID -j DROP
-A ${prefix}-before-input -p ${icmp} -j ACCEPT
-A ${prefix}-before-input -j ${prefix}-user-input
-A ${prefix}-user-input -p udp -m udp --dport 51820 -j ACCEPT
COMMIT
`;
}

/** Every program whose rules are tried. */
export const FIREWALLS: readonly Firewall[] = [
  {
    name: "iptables-legacy",
    rules: [["iptables-legacy-restore", BY_HAND], ["ip6tables-legacy-restore", BY_HAND6]],
    chainToAllow: null,
  },
  {
    name: "iptables-nft",
    rules: [["iptables-nft-restore", BY_HAND], ["ip6tables-nft-restore", BY_HAND6]],
    chainToAllow: null,
  },
  {
    name: "Docker by iptables-nft",
    rules: [["iptables-nft-restore", DOCKER]],
    chainToAllow: "DOCKER-USER",
  },
  {
    name: "Docker by iptables-legacy",
    rules: [["iptables-legacy-restore", DOCKER]],
    chainToAllow: "DOCKER-USER",
  },
  {
    name: "ufw",
    rules: [
      ["iptables-nft-restore", ufw("ufw", "icmp")],
      ["ip6tables-nft-restore", ufw("ufw6", "ipv6-icmp")],
    ],
    chainToAllow: "ufw-user-forward",
  },
];
