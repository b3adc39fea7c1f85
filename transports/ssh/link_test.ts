import type { LinkEvents } from "../../core/link.ts";
import { type LinkPair, testLink } from "../_conformance.ts";
import { identityOf, Membership, openLink, TcpProxy } from "./_pair.ts";

const [ALICE, BOB] = [identityOf(1), identityOf(2)];

/** @param dialers Who dials whom. */
function pairMaker(dialers: readonly ("a" | "b")[]) {
  return async (toA: LinkEvents, toB: LinkEvents): Promise<LinkPair> => {
    const members = new Membership([ALICE, BOB]);
    const [a, b] = [await openLink(ALICE, members, toA), await openLink(BOB, members, toB)];
    const toward = {
      a: await TcpProxy.listen(() => a.port!),
      b: await TcpProxy.listen(() => b.port!),
    };
    if (dialers.includes("a")) a.dial(BOB.peerId, [toward.b.endpoint]);
    if (dialers.includes("b")) b.dial(ALICE.peerId, [toward.a.endpoint]);
    return {
      a: { link: a, id: ALICE.peerId },
      b: { link: b, id: BOB.peerId },
      interrupt() {
        toward.a.kill();
        toward.b.kill();
        return Promise.resolve();
      },
      async close() {
        await Promise.all([a.close(), b.close()]);
        await Promise.all([toward.a.close(), toward.b.close()]);
      },
    };
  };
}

testLink("SshLink, dialling,", pairMaker(["a"]));
testLink("SshLink, dialled,", pairMaker(["b"]));
testLink("SshLink, dialling and dialled,", pairMaker(["a", "b"]));
