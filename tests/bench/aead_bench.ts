/**
 * How fast are packets sealed and opened, by each implementation of the cipher?
 * @module
 */
import { nobleAead, TAG } from "../../core/dataplane/aead.ts";
import { chooseAead } from "../../core/platform/linux/libcrypto.ts";

const chosen = chooseAead();
const implementations = chosen === nobleAead ? [nobleAead] : [chosen, nobleAead];
const LENGTH = 1420;

for (const aead of implementations) {
  const key = aead.key(new Uint8Array(32).fill(7));
  const packet = new Uint8Array(LENGTH + TAG);
  let counter = 0;
  Deno.bench(`seal ${LENGTH} bytes with ${aead.name}`, {
    group: "seal",
    baseline: aead === nobleAead,
  }, () => key.seal(packet, 0, LENGTH, counter++));

  const sealed = new Uint8Array(LENGTH + TAG);
  key.seal(sealed, 0, LENGTH, 0);
  const scratch = new Uint8Array(LENGTH + TAG);
  Deno.bench(`open ${LENGTH} bytes with ${aead.name}`, {
    group: "open",
    baseline: aead === nobleAead,
  }, () => {
    scratch.set(sealed);
    key.open(scratch, 0, LENGTH + TAG, 0);
  });
}
